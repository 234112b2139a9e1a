"""Held-out accuracy on a grid of lr and weight decay, rule by rule."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reproductions.progress import Progress
from reproductions.runs import Order, Outcome, train
from reproductions.scale import Scale
from sweeper.tasks.task import Task

# 8 lr x 4 decays x 2 seeds are one full pack of a rule.
HORIZON, SEEDS = 600, 2
DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)
# Accuracy lost against the best cell, up to which a cell is good.
WITHIN = 0.01
_CHANCE = 0.1


def _thirds(first: int) -> tuple[float, ...]:
    """8 learning rates, three a decade, from 10^(first / 3) on."""
    return tuple(float(f"{10 ** (place / 3):.2g}") for place in range(first, first + 8))


@dataclass(frozen=True, slots=True)
class Rule:
    """An optimizer and the learning rates that it is tried at, three a decade."""

    name: str
    lrs: tuple[float, ...]
    rest: Mapping[str, Any] = field(default_factory=dict)
    decays: tuple[float, ...] = DECAYS

    def config(self, lr: float, decay: float) -> dict[str, Any]:
        """As a user writes it."""
        return {"optimizer": self.name, "lr": lr, "weight_decay": decay, **self.rest}


RULES = (
    Rule("sgd", _thirds(-7), {"momentum": 0.9}),
    Rule("adam", _thirds(-10)),
    Rule("adai", _thirds(-5)),
    Rule("adaiw", _thirds(-5)),
)


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of one rule.

    Args:
        accuracy: held out, `[seeds, lr, decay]`; that of chance where a run diverged.
        held_out_loss: `[seeds, lr, decay]`; infinite where a run diverged.
    """

    rule: Rule
    accuracy: np.ndarray
    held_out_loss: np.ndarray

    @property
    def best(self) -> tuple[int, int]:
        """Indices (lr, decay) of the highest mean accuracy; of equals the lowest held-out loss."""
        mean, loss = self.accuracy.mean(0), self.held_out_loss.mean(0)
        tied = np.where(mean > mean.max() - 1e-9, loss, np.inf)
        row, column = np.unravel_index(tied.argmin(), tied.shape)
        return int(row), int(column)

    @property
    def setting(self) -> tuple[float, float]:
        """lr and decay of the best cell."""
        row, column = self.best
        return self.rule.lrs[row], self.rule.decays[column]

    @property
    def basin(self) -> np.ndarray:
        """Which cells are good by their mean accuracy, `[lr, decay]`."""
        return good(self.accuracy.mean(0))

    @property
    def basins(self) -> np.ndarray:
        """Which cells are good on each seed alone, `[seeds, lr, decay]`."""
        return np.array([good(one) for one in self.accuracy])

    @property
    def touches_edge(self) -> bool:
        """Whether good cells lie at an end of lr or decay: there may be more outside."""
        return bool(self.basin[[0, -1]].any() or self.basin[:, [0, -1]].any())

    def centres(self) -> np.ndarray:
        """Geometric mean of the lr of the good cells, by seed, `[seeds]`."""
        lrs = np.log10(self.rule.lrs)[:, None]
        return np.array([10 ** float((one * lrs).sum() / one.sum()) for one in self.basins])


def good(accuracy: np.ndarray) -> np.ndarray:
    """Cells within 1 % (of all images) of the best one, of `[lr, decay]`."""
    found: np.ndarray = accuracy >= accuracy.max() - WITHIN - 1e-9
    return found


def decades(basin: np.ndarray) -> float:
    """Of lr that have a good cell: a third for each."""
    return float(basin.any(-1).sum()) / 3


def measure(
    task: Task, scale: Scale, progress: Progress, rules: Sequence[Rule] = RULES
) -> list[Grid]:
    """A grid of every rule."""
    seeds, horizon = range(scale.count(SEEDS)), scale.steps(HORIZON)
    orders = [
        Order(rule.config(lr, decay), horizon, seed)
        for rule in rules
        for seed in seeds
        for lr, decay in itertools.product(rule.lrs, rule.decays)
    ]
    progress.say(f"adai: {len(orders)} runs of {horizon:,} steps")
    runs = iter(train(task, orders, compiled=scale.compiled))
    return [_grid(rule, len(seeds), runs) for rule in rules]


def _grid(rule: Rule, seeds: int, runs: Iterator[Outcome]) -> Grid:
    """Of the next runs."""
    shape = (seeds, len(rule.lrs), len(rule.decays))
    own = list(itertools.islice(runs, int(np.prod(shape))))
    accuracy = np.array([accuracy_of(run) for run in own])
    loss = np.array([run.metrics.get("held_out_loss", np.inf) for run in own])
    return Grid(
        rule,
        accuracy.reshape(shape),
        np.nan_to_num(loss, nan=np.inf, posinf=np.inf).reshape(shape),
    )


def accuracy_of(run: Outcome) -> float:
    """Held-out accuracy at the end; that of chance where the run diverged."""
    return run.metrics.get("held_out_accuracy", _CHANCE)
