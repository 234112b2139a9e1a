"""Loss against lr of every setting, and its LR sensitivity."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reproductions.progress import Progress
from reproductions.runs import Order, Outcome, train
from reproductions.scale import Scale
from sweeper.ranking.evidence import Evidence
from sweeper.ranking.lr_sensitivity import lr_sensitivity
from sweeper.tasks.task import Task

# 8 lr x 16 settings x 2 seeds are four full packs.
HORIZON, SEEDS = 1_000, 2
LRS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
# A single mini-batch is noisy: a run's last loss is the mean over this share of its steps.
END = 0.1


@dataclass(frozen=True, slots=True)
class Setting:
    """Adam but for its lr.

    Args:
        schedule: constant or cosine to 0.
        warmup: share of the steps.
    """

    schedule: str = "constant"
    warmup: float = 0.0
    eps: float = 1e-8
    beta2: float = 0.999

    def config(self, lr: float) -> dict[str, Any]:
        """As a user writes it."""
        return {
            "optimizer": "adam",
            "lr": lr,
            "eps": self.eps,
            "betas": [0.9, self.beta2],
            "schedule": {"kind": self.schedule, "warmup": self.warmup},
        }


CHOICES: dict[str, tuple[Any, Any]] = {
    "schedule": ("constant", "cosine"),
    "warmup": (0.0, 0.1),
    "eps": (1e-8, 1e-3),
    "beta2": (0.999, 0.95),
}
"""Both values of every factor, the common one first."""
SETTINGS = tuple(Setting(*values) for values in itertools.product(*CHOICES.values()))


@dataclass(frozen=True, slots=True)
class Curve:
    """Runs of one setting.

    Args:
        lrs: `[n]`, rising.
        loss: mean of the last tenth of the steps, `[seeds, n]`; NaN where a run diverged.
        first: loss at initialisation, `[seeds, n]`.
        sensitivity: LRS by seed, `[seeds]`.
    """

    setting: Setting
    lrs: np.ndarray
    loss: np.ndarray
    first: np.ndarray
    sensitivity: np.ndarray

    @property
    def costs(self) -> np.ndarray:
        """min(loss, loss at initialisation), which a diverged run has, too: `[seeds, n]`."""
        costs: np.ndarray = np.fmin(self.loss, self.first)
        return costs

    @property
    def best(self) -> int:
        """Index of the lr with the lowest mean loss."""
        return int(self.costs.mean(0).argmin())

    def parts(self) -> tuple[float, float]:
        """What the lr below and above the best of each seed add to LRS, means over seeds."""
        lost = self.costs - self.costs.min(1, keepdims=True)
        places = np.arange(self.lrs.size)
        below = places < self.costs.argmin(1)[:, None]
        return float((lost * below).mean()), float((lost * ~below).mean())


def measure(
    task: Task,
    scale: Scale,
    progress: Progress,
    settings: Sequence[Setting] = SETTINGS,
    lrs: Sequence[float] = LRS,
) -> list[Curve]:
    """A curve of every setting."""
    seeds, horizon = range(scale.count(SEEDS)), scale.steps(HORIZON)
    orders = [
        Order(setting.config(lr), horizon, seed)
        for setting in settings
        for seed in seeds
        for lr in lrs
    ]
    progress.say(f"lr sensitivity: {len(orders)} runs of {horizon:,} steps")
    outcomes = train(task, orders, compiled=scale.compiled)
    size = len(seeds) * len(lrs)
    parts = [outcomes[start : start + size] for start in range(0, len(outcomes), size)]
    return [_curve(*pair, lrs) for pair in zip(settings, parts, strict=True)]


def _curve(setting: Setting, runs: Sequence[Outcome], lrs: Sequence[float]) -> Curve:
    last = round(END * runs[0].loss.size)
    loss = np.array([run.loss[-last:].mean() for run in runs]).reshape(-1, len(lrs))
    first = np.array([run.loss[0] for run in runs]).reshape(-1, len(lrs))
    values = [_sensitivity(setting, lrs, *pair) for pair in zip(loss, first, strict=True)]
    return Curve(setting, np.array(lrs), loss, first, np.array(values))


def _sensitivity(
    setting: Setting, lrs: Sequence[float], loss: np.ndarray, first: np.ndarray
) -> float:
    """Of one seed, by the policy of a sweep, `lr_sensitivity`."""
    trials = [
        {"trial": i, "config": setting.config(lr), "final_loss": loss[i], "first_loss": first[i]}
        for i, lr in enumerate(lrs)
    ]
    return lr_sensitivity(trials, Evidence())[0]
