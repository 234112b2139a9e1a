"""The best cell of every rule on fresh seeds: held-out accuracy, and curvature where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from reproductions.adai.grid import HORIZON, Grid, accuracy_of
from reproductions.divisor import top_eigenvalue
from reproductions.progress import Progress
from reproductions.runs import Order, train
from reproductions.scale import Scale
from reproductions.seeds import fresh
from sweeper.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Best:
    """Runs of the best cell of one rule, `[seeds]` each.

    Args:
        accuracy: held out.
        loss: mean training loss of the last epoch.
        curvature: top eigenvalue of the Hessian of the loss, without decay, on all training
            images; NaN where a run diverged.
        failed: whether a run fails by sweeper's verdict.
    """

    accuracy: np.ndarray
    loss: np.ndarray
    curvature: np.ndarray
    failed: np.ndarray


def measure(task: Task, grids: Sequence[Grid], scale: Scale, progress: Progress) -> list[Best]:
    """One for every grid; few runs, which compiling doesn't pay for."""
    horizon, seeds = scale.steps(HORIZON), fresh(scale)
    progress.say(f"adai: the best cells on {len(seeds)} fresh seeds")
    orders = [
        Order(grid.rule.config(*grid.setting), horizon, seed, looks=(horizon,))
        for grid in grids
        for seed in seeds
    ]
    outcomes = train(task, orders, compiled=False)
    progress.say("adai: their curvature")
    whole, found = replace(task, batch_size=None), []
    for place in range(len(grids)):
        runs = outcomes[place * len(seeds) : (place + 1) * len(seeds)]
        ends = [run.rows[horizon]["theta"] for run in runs]
        found.append(
            Best(
                np.array([accuracy_of(run) for run in runs]),
                np.array([run.loss[-task.epoch_steps :].mean() for run in runs]),
                np.array([_curvature(whole, end) for end in ends]),
                np.array([run.failed for run in runs]),
            )
        )
    return found


def _curvature(task: Task, theta: Tensor) -> float:
    return top_eigenvalue(task, theta) if bool(theta.isfinite().all()) else float("nan")
