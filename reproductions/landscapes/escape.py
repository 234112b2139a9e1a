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
# The share of SGD's steps from which on a setting is no faster.
_FASTER = 0.9

SETTINGS: dict[str, Mapping[str, Any]] = {
    "SGD": {"optimizer": "sgd", "lr": 0.1},
    "SGD, momentum 0.9, same lr": {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9},
    "SGD, momentum 0.9, lr x (1 - 0.9)": {"optimizer": "sgd", "lr": 0.01, "momentum": 0.9},
    "Adam": {"optimizer": "adam", "lr": 0.05},
    "Adai": {"optimizer": "adai", "lr": 0.1},
    "AdaiW": {"optimizer": "adaiw", "lr": 0.1},
}


def flat_saddle() -> Task:
    """A tenth as curved down as up, and the variance of the noise follows the curvature."""

    def height(x: Tensor, y: Tensor) -> Tensor:
        return x.square() / 2 + _FLAT * (y.pow(4) / 4 - y.square() / 2)

    task = landscape.task(height, (-1.0, 1e-3), noise=_NOISE, spread=1e-3)
    tilts, targets = task.data
    return replace(task, data=(tilts * torch.tensor([1.0, _FLAT]).sqrt(), targets))


CASES = {
    f"noise {_NOISE:g}": lambda: saddle.build("saddle", _NOISE),
    "no noise": lambda: saddle.build("saddle", 0.0),
    "flat, variance as curvature": flat_saddle,
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
    """Every setting in every case."""
    found = []
    for case in CASES:
        progress.say(f"saddle: {case}")
        found += _escapes(case, scale)
    return found


def _escapes(case: str, scale: Scale) -> list[Escapes]:
    """Every setting; seeds from 1 on, as seed 0 starts without spread."""
    steps, seeds = scale.steps(STEPS), range(1, scale.count(SEEDS) + 1)
    orders = [Order(config, steps, seed) for config in SETTINGS.values() for seed in seeds]
    path = np.abs(follow(CASES[case](), orders)).reshape(len(SETTINGS), len(seeds), -1, 2)
    return [
        Escapes(
            name, case, _first(own[..., 1] > _OUT), float(np.median(_first(own[..., 0] < _DOWN)))
        )
        for name, own in zip(SETTINGS, path, strict=True)
    ]


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
slowest run in brackets. lr of Adai is that of SGD, as its authors advise. The third saddle is
a tenth as curved down as up, and the variance of the noise along an axis is proportional to the
size of the curvature, as the theory of the paper has it.

{page.table(head, rows)}

{_story(found)}"""


def _said(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else "never"


def _story(found: list[Escapes]) -> str:
    plain, same, scaled, adam, adai, adaiw = SETTINGS

    def told(name: str, other: str) -> str:
        shares = _shares(found, name, other)
        return ", ".join(f"{share:.2f}" if np.isfinite(share) else "-" for share in shares)

    return (
        "The claims: momentum carries a run through a saddle, Adai has that and leaves fast, Adam "
        f"leaves fast, plain SGD is slow. As a share of SGD's steps out, by saddle: momentum at "
        f"the same lr {told(same, plain)}, at the same *effective* lr {told(scaled, plain)}; Adam "
        f"{told(adam, plain)}; Adai {told(adai, plain)}. Adai against momentum at the same "
        f"effective lr: {told(adai, scaled)}; AdaiW, with its default weight decay, against Adai: "
        f"{told(adaiw, adai)}.\n\n"
        + "\n".join(f"- {_fast(found, name, plain)}" for name in (same, scaled, adam, adai))
        + _longer_step(found)
        + _passed_by(found, adam)
    )


def _shares(found: list[Escapes], name: str, other: str) -> list[float]:
    """Its median over that of another setting, by case; NaN where neither gets out."""
    ours, theirs = ([o.median for o in found if o.name == each] for each in (name, other))
    pairs = zip(ours, theirs, strict=True)
    return [a / b if np.isfinite(min(a, b)) else np.nan for a, b in pairs]


def _fast(found: list[Escapes], name: str, plain: str) -> str:
    shares = dict(zip(CASES, _shares(found, name, plain), strict=True))
    where = [case for case, share in shares.items() if share < _FASTER]
    holds = f"reproduced on {'; '.join(where)}" if where else "**not** reproduced on any of them"
    holds = "reproduced on all of them" if len(where) == len(shares) else holds
    return f"That {name} leaves a saddle faster than SGD is {holds}."


def _longer_step(found: list[Escapes]) -> str:
    """What momentum gains, where it gains at the same lr alone."""
    plain, same, scaled, *_ = SETTINGS
    gains, keeps = (
        [share < _FASTER for share in _shares(found, name, plain)] for name in (same, scaled)
    )
    if not all(gains) or any(keeps):
        return ""
    longer = 1 / (1 - float(SETTINGS[same]["momentum"]))
    return f"\n\nWhat momentum gains here is its {longer:.0f} times longer step."


def _passed_by(found: list[Escapes], name: str) -> str:
    """A run that is out before it is down never was at the saddle."""
    early = [one.case for one in found if one.name == name and one.median < one.down]
    if not early:
        return ""
    lr = float(SETTINGS[name]["lr"])
    return (
        f"\n\n{name} is out before it is down ({'; '.join(early)}): it passes by the saddle "
        "rather than leaving it. Its first steps are about lr long along both axes, however small "
        f"the gradient: {_OUT:g} / lr is {_OUT / lr:.0f} steps. Its figure is mostly that of its "
        "lr."
    )
