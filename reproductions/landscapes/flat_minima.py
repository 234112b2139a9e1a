"""Two minima, narrow and wide: who leaves which?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reproductions import page
from reproductions.progress import Progress
from reproductions.runs import Order, train
from reproductions.scale import Scale
from sweeper.tasks.bundled import saddle
from sweeper.tasks.task import Task

TITLE = "The flat one of two minima"
STEPS, SEEDS, NOISES = 3_000, 64, (5.0, 10.0, 20.0)
# Fewer runs than this share that leave are none to speak of.
_STAYS = 0.05

SETTINGS: dict[str, Mapping[str, Any]] = {
    "SGD": {"optimizer": "sgd", "lr": 0.01},
    "SGD, momentum 0.9": {"optimizer": "sgd", "lr": 0.001, "momentum": 0.9},
    "Adai": {"optimizer": "adai", "lr": 0.01},
    "AdaiW": {"optimizer": "adaiw", "lr": 0.01},
    "Adam, lr 0.03": {"optimizer": "adam", "lr": 0.03},
    "Adam, lr 0.1": {"optimizer": "adam", "lr": 0.1},
    "Adam, lr 0.3": {"optimizer": "adam", "lr": 0.3},
}


@dataclass(frozen=True, slots=True)
class Shares:
    """Runs of one setting with one noise.

    Args:
        wide: share of those from the narrow minimum that end at y > 0.
        narrow: share of those from the wide minimum that end at y < 0.
        runs: from each of the two, of so many steps.
    """

    name: str
    noise: float
    wide: float
    narrow: float
    runs: int
    steps: int


def measure(scale: Scale, progress: Progress) -> list[Shares]:
    """Every setting with every noise, from both minima."""
    steps, seeds = scale.steps(STEPS), range(scale.count(SEEDS))
    found = []
    for noise in NOISES:
        progress.say(f"two minima: noise {noise:g}")
        task = saddle.build("two_minima", noise)
        left = _ended(task, steps, seeds, scale)
        right = _ended(_mirrored(task), steps, seeds, scale)
        for name in SETTINGS:
            wide, narrow = float((left[name] > 0).mean()), float((right[name] < 0).mean())
            found.append(Shares(name, noise, wide, narrow, len(seeds), steps))
    return found


def _mirrored(task: Task) -> Task:
    """From the wide minimum instead of the narrow one."""
    assert task.init is not None
    given = task.init

    def init(seed: int) -> dict[str, Tensor]:
        return {"point": given(seed)["point"] * torch.tensor([1.0, -1.0])}

    return replace(task, init=init)


def _ended(task: Task, steps: int, seeds: Sequence[int], scale: Scale) -> dict[str, np.ndarray]:
    """y at the end of every run, `[seeds]` by setting."""
    orders = [Order(c, steps, seed, looks=(steps,)) for c in SETTINGS.values() for seed in seeds]
    outcomes = train(task, orders, compiled=scale.compiled)
    ends = np.array([float(one.rows[steps]["theta"][1]) for one in outcomes])
    return dict(zip(SETTINGS, ends.reshape(len(SETTINGS), -1), strict=True))


def _sharpness(y: float) -> float:
    """Along y just inside of a minimum; outside the slope up to both sides adds 1."""

    def height(place: Tensor) -> Tensor:
        return saddle.two_minima(torch.zeros(()), place)

    inside = torch.tensor(y * (1 - 1e-6), dtype=torch.float64)
    return float(torch.func.grad(torch.func.grad(height))(inside))


def section(found: list[Shares]) -> str:
    """The section of the page."""
    noises = dict.fromkeys(one.noise for one in found)
    head = ["", *(f"noise {noise:g}: {what}" for noise in noises
            for what in ("leave the narrow", "leave the wide"))]  # fmt: skip
    rows = [
        [name] + [f"{v:.0%}" for one in found if one.name == name for v in (one.wide, one.narrow)]
        for name in SETTINGS
    ]
    narrow, wide = _sharpness(-1.0), _sharpness(1.0)
    return f"""### {TITLE}

Task `saddle` with `surface: two_minima`: two minima of one depth, the narrow one
{narrow / wide:.0f} times as sharp ({narrow:.0f} for {wide:.1f}); {found[0].steps:,} steps and
{found[0].runs} runs from each. Shares of runs that end in the other minimum than the one they
started in. lr x sharpness of SGD is {SETTINGS["SGD"]["lr"] * narrow:.2f} in the narrow one, below
2, so that only noise takes a run out. lr of momentum is that of SGD times 1 - 0.9, lr of Adai that
of SGD; Adam has none that compares, hence three. Where the two shares add up to about 100 % the
start is forgotten.

{page.table(head, rows)}

{_story(found)}"""


def _story(found: list[Shares]) -> str:
    lines = [f"- {_told(name, [o for o in found if o.name == name])}" for name in SETTINGS]
    return "\n".join(lines) + f"\n\n{_verdict(found)}"


def _verdict(found: list[Shares]) -> str:
    """Against the claims, at each optimizer's best."""

    def best(rule: str) -> float:
        names = [name for name, config in SETTINGS.items() if config["optimizer"] == rule]
        return max(one.wide - one.narrow for one in found if one.name in names)

    sgd, adai, adam = best("sgd"), best("adai"), best("adam")
    error = 2**0.5 * _error(found[0])
    adai_too = adai > 2 * error and adai > sgd - 2 * error
    less = adam < adai - 2 * error
    return (
        f"At their best, the share that leaves the narrow minimum is ahead of that which leaves "
        f"the wide one by {sgd:.2f} (SGD), {adai:.2f} (Adai) and {adam:.2f} (Adam), with a "
        f"standard error of at most {error:.2f} between two of these (the best of several cells "
        f"is picked for each, of the most for Adam). That Adai prefers the flat minimum "
        f"as SGD does "
        f"{'is' if adai_too else 'is **not**'} reproduced, that Adam is less selective "
        f"{'is' if less else 'is **not**'}."
    )


def _error(one: Shares) -> float:
    """Standard error of the difference of two shares, at most: that near a half."""
    return float((0.5 / one.runs) ** 0.5)


def _told(name: str, cells: list[Shares]) -> str:
    """How selective one optimizer is."""
    best = max(cells, key=lambda one: one.wide - one.narrow)
    if max(max(one.wide, one.narrow) for one in cells) < _STAYS:
        return f"{name}: stays where it starts."
    if best.wide - best.narrow < 2 * _error(best):
        return f"{name}: no preference that {best.runs} runs could tell."
    return (
        f"{name}: most selective at noise {best.noise:g}, where {best.wide:.0%} leave the narrow "
        f"minimum and {best.narrow:.0%} the wide one."
    )
