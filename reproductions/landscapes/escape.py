"""Out of a saddle: how long it takes each optimizer, on saddles of three kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reproductions import page
from reproductions.landscapes.paths import follow
from reproductions.progress import Progress
from reproductions.runs import Order
from reproductions.scale import Scale
from sweeper.tasks.bundled import landscape, saddle
from sweeper.tasks.task import Task

TITLE = "Leaving a saddle"
STEPS, SEEDS = 1_600, 32
_OUT, _DOWN, _NOISE, _FLAT = 0.5, 0.1, 0.1, 0.1

SETTINGS: dict[str, Mapping[str, Any]] = {
    "SGD": {"optimizer": "sgd", "lr": 0.1},
    "SGD, momentum 0.9, same lr": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9},
    "SGD, momentum 0.9, lr x (1 - 0.9)": {"optimizer": "sgd", "lr": 0.01, "momentum": 0.9},
    "Adam": {"optimizer": "adam", "lr": 0.05},
    "Adai": {"optimizer": "adai", "lr": 0.1},
    "AdaiW": {"optimizer": "adaiw", "lr": 0.1},
}


def flat_saddle() -> Task:
    """A tenth as curved down as up, and the noise follows the curvature."""

    def height(x: Tensor, y: Tensor) -> Tensor:
        return x.square() / 2 + _FLAT * (y.pow(4) / 4 - y.square() / 2)

    task = landscape.task(height, (-1.0, 1e-3), noise=_NOISE, spread=1e-3)
    tilts, targets = task.data
    return replace(task, data=(tilts * torch.tensor([1.0, _FLAT]), targets))


CASES = {
    f"noise {_NOISE:g}": lambda: saddle.build("saddle", _NOISE),
    "no noise": lambda: saddle.build("saddle", 0.0),
    "flat, noise as curvature": flat_saddle,
}


@dataclass(frozen=True, slots=True)
class Escapes:
    """The runs of one setting in one case.

    Args:
        out: `[seeds]`, steps until |y| > 0.5; inf where a run stays.
        down: median of the steps until |x| < 0.1.
    """

    name: str
    case: str
    out: np.ndarray
    down: float

    @property
    def median(self) -> float:
        return float(np.median(self.out))


def measure(scale: Scale, progress: Progress) -> list[Escapes]:
    """Every setting in every case; seeds from 1 on, as seed 0 starts without spread."""
    steps, seeds = scale.steps(STEPS), range(1, scale.count(SEEDS) + 1)
    found = []
    for case, build in CASES.items():
        for name, config in SETTINGS.items():
            progress.say(f"saddle: {case}, {name}")
            orders = [Order(config, steps, seed) for seed in seeds]
            path = np.abs(follow(build(), orders))
            down = float(np.median(_first(path[..., 0] < _DOWN)))
            found.append(Escapes(name, case, _first(path[..., 1] > _OUT), down))
    return found


def _first(holds: np.ndarray) -> np.ndarray:
    """The first step of each run at which it holds; inf where there is none."""
    found: np.ndarray = np.where(holds.any(1), holds.argmax(1), np.inf)
    return found


def section(found: list[Escapes]) -> str:
    """The section of the page."""
    head = ["", "lr", *(f"{case}: {what}" for case in CASES for what in ("down", "out"))]
    rows = []
    for name, config in SETTINGS.items():
        cells = [one for one in found if one.name == name]
        times = [
            (_said(one.down), f"{_said(one.median)} ({_said(one.out.max())})") for one in cells
        ]
        rows.append([name, f"{config['lr']:g}", *(text for pair in times for text in pair)])
    return f"""### {TITLE}

`saddle` from about (-1, 1e-3), {len(found[0].out)} seeds: median of the steps until the run is
`down` at the saddle (x nearer to 0 than {_DOWN:g}) and `out` of it (y farther than {_OUT:g}); the
slowest run in brackets. lr of Adai is that of SGD, as its authors advise; Adam's makes it come
down about as fast. The third saddle is a tenth as curved down as up, and noise along an axis is
proportional to the curvature, as the theory of the paper has it.

{page.table(head, rows)}

{_story(found)}"""


def _said(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else "never"


def _story(found: list[Escapes]) -> str:
    plain, same, scaled, adam, adai, adaiw = SETTINGS

    def against(name: str) -> list[float]:
        """Its median over that of SGD, by case."""
        medians = {one.case: one.median for one in found if one.name == plain}
        return [one.median / medians[one.case] for one in found if one.name == name]

    def told(name: str) -> str:
        return ", ".join(f"{share:.2f}" for share in against(name))

    return (
        "The claims: Adai leaves saddles as fast as momentum, Adam does so fast, plain SGD is "
        f"slow. As a share of SGD's steps, by saddle: momentum at the same lr {told(same)}; "
        f"at the same *effective* lr {told(scaled)}, so that its gain is its ten times longer "
        f"step; Adam {told(adam)}; Adai {told(adai)}. {_fast('Adam', against(adam))} "
        f"{_fast('Adai', against(adai))} The medians of AdaiW, with its default weight "
        f"decay, are within {_apart(found, adai, adaiw):.1%} of those of Adai."
    )


def _apart(found: list[Escapes], one: str, other: str) -> float:
    """Largest relative difference of two optimizers' medians."""
    medians = [[cell.median for cell in found if cell.name == name] for name in (one, other)]
    first, second = np.array(medians)
    return float(np.abs(second / first - 1).max())


def _fast(name: str, shares: list[float]) -> str:
    where = [case for case, share in zip(CASES, shares, strict=True) if share < 0.9]
    if len(where) == len(shares):
        return f"That {name} leaves a saddle faster than SGD is reproduced on all three."
    if where:
        return f"That {name} leaves a saddle faster than SGD is reproduced on: {'; '.join(where)}."
    return f"That {name} leaves a saddle faster than SGD is **not** reproduced on any of them."
