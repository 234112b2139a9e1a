"""The settings of the question and its answers, trained long, and restarted as was done there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from reproductions.divisor import Prober, lanczos
from reproductions.progress import Progress
from reproductions.runs import Order, Outcome, train
from reproductions.scale import Scale
from sweeper.stability.threshold import threshold
from sweeper.tasks.bundled import multitask
from sweeper.tasks.task import Task

IMAGES, SIZE, CHANNELS = 2_000, 8, 4
HORIZON, RESTARTS = 20_000, 3
ASKED = (1e-4, 1e-4)
# eps by lr: the asker's lr, ten and a hundred times of it, and the tenth that was advised.
LRS = {1e-2: (1e-8, 1e-1), 1e-3: (1e-8, 1e-4, 1e-1), 1e-4: (1e-8, 1e-4, 1e-3, 1e-2, 1e-1),
       1e-5: (1e-8, 1e-4)}  # fmt: skip
LOOKS = (0.25, 0.5, 0.75, 1.0)
# Images that S is measured on: two batches.
PROBED = 400


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting.

    Args:
        sharpness: S as a share of its threshold, by step; S is that of the loss on some images,
            divided by what the run divides by.
    """

    lr: float
    eps: float
    outcome: Outcome
    sharpness: dict[int, float]


@dataclass(frozen=True, slots=True)
class Restart:
    """A run that was stopped and went on with its images in another order."""

    cell: Cell
    step: int
    outcomes: Sequence[Outcome]


def task(images: int = IMAGES) -> Task:
    """The network; fewer images are the first ones of more."""
    return multitask.build(images=images, size=SIZE, channels=CHANNELS)


@cache
def epoch() -> int:
    """Steps of an epoch."""
    return task().epoch_steps


def measure(
    scale: Scale, progress: Progress, lrs: Mapping[float, Sequence[float]] = LRS
) -> list[Cell]:
    """A run of every setting; `lrs` are the values of eps of each lr."""
    horizon, settings = scale.steps(HORIZON), [(lr, eps) for lr in lrs for eps in lrs[lr]]
    progress.say(f"multitask: {len(settings)} settings, {horizon:,} steps")
    looks = tuple(scale.unit(share * horizon) for share in LOOKS)
    orders = [Order(_config(*one), horizon, looks=looks) for one in settings]
    outcomes = train(task(), orders, compiled=scale.compiled)
    progress.say("multitask: sharpness")
    prober = lanczos(replace(task(PROBED), batch_size=None), iterations=20, ahead=False)
    return [
        Cell(*setting, outcome, _sharpness(outcome, prober))
        for setting, outcome in zip(settings, outcomes, strict=True)
    ]


def restart(cells: Sequence[Cell], scale: Scale, progress: Progress) -> Restart:
    """The run that climbs highest, stopped half way, its images shuffled anew several times."""
    worst = max(cells, key=lambda cell: float(cell.outcome.verdict["draw_up"]))
    order = worst.outcome.order
    step = scale.unit(0.5 * order.horizon)
    progress.say(f"multitask: lr {worst.lr:g}, eps {worst.eps:g} restarted at step {step:,}")
    again = [
        Order(order.config, order.horizon - step, seed, start=worst.outcome.rows[step])
        for seed in range(1, 1 + scale.count(RESTARTS))
    ]
    return Restart(worst, step, train(task(), again, compiled=scale.compiled))


def _config(lr: float, eps: float) -> dict[str, Any]:
    """Adam as TensorFlow has it: eps beside the uncorrected root."""
    return {"optimizer": "adam", "lr": lr, "eps": eps, "eps_hat": True}


def _sharpness(outcome: Outcome, prober: Prober) -> dict[int, float]:
    horizon, found = outcome.order.horizon, {}
    for step, row in outcome.rows.items():
        edge = threshold(outcome.configuration, horizon, np.array([float(step)]))
        found[step] = prober(outcome.configuration, horizon, row).sharpness / float(edge[0])
    return found
