"""Optuna's pruners, and the values by which they compare trials: finite, lower is better."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna import pruners
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner

from sweeper.lane.rungs import matched, passed, rung_steps
from sweeper.pruning import Pruning
from sweeper.ranking.objective import Result
from sweeper.ranking.objectives import Objective, metric_costs
from sweeper.spec import SweepSpec
from sweeper.study.book import Book
from sweeper.study.database import RunRow

# Of a loss that is no number; from here on a value says nothing but that it is bad.
_LARGEST = 1e100
# Losses down to 0 have a log10 above this one, and those that are not positive come below it.
_BELOW_EVERY_LOG = -400.0


def make_pruner(pruning: Pruning, horizon: int) -> BasePruner | None:
    """Optuna's pruner; None where nothing is pruned. Its steps are those of the longest run.

    Those of wilcoxon are indices of seeds.
    """
    options = dict(pruning.options)
    if options.get("min_resource", 0) is None:
        options["min_resource"] = next(iter(rung_steps(horizon)), 1)
    makers: dict[str, Callable[..., BasePruner]] = {
        "median": pruners.MedianPruner,
        "successive_halving": SuccessiveHalvingPruner,
        "hyperband": lambda **given: HyperbandPruner(max_resource=horizon, **given),
        "wilcoxon": pruners.WilcoxonPruner,
    }
    if not pruning.is_on:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return makers[pruning.name](**options)


def keeps_notes(pruner: BasePruner) -> bool:
    """Whether it notes for each trial how far it came, and asks that of the others."""
    return isinstance(pruner, SuccessiveHalvingPruner | HyperbandPruner)


class Comparison:
    """The values by which the trials of a book are compared, as far as they are known.

    At a rung that is log10 of the loss of the worst seed, among those that a trial starts with:
    what it earns by racing comes when they have ended. For wilcoxon it is what each seed came to.
    A metric that is maximised turns the sign. Rungs go by those of the longest run: a shorter one
    is compared at the same share of its own horizon.

    Args:
        book: has what ended.
        spec: of the sweep.
    """

    def __init__(self, book: Book, spec: SweepSpec) -> None:
        self._book, self._objective = book, spec.objectives[0]
        self._by_rungs = spec.pruning.by_rungs
        self._seeds, self._first_seeds = len(spec.seed_list), spec.first_seeds
        self._longest = spec.lengths[-1]
        self._matched: dict[int, dict[int, int]] = {}  # rungs of a run, by its horizon
        self._losses: dict[int, dict[int, float]] = {}  # by step, of runs that were heard of

    def note(self, rungs: Mapping[int, Sequence[tuple[int, float]]]) -> None:
        """Take what lanes report of the runs that they hold: the same again says nothing new."""
        for run, reached in rungs.items():
            known = self._losses.setdefault(run, {})
            own = set(self._rungs(self._book.runs[run]).values())
            known |= {step: loss for step, loss in reached if step in own}

    def forget(self, trial: int) -> None:
        """A trial was told."""
        for row in self._book.rows(trial):
            self._losses.pop(row.run.id, None)

    def steps_of(self, run: int) -> int:
        """Steps that a run has made for certain."""
        return max(self._losses.get(run, {}), default=-1) + 1

    def values(self, trial: int) -> dict[int, float]:
        """What is known of a trial, as its pruner takes it: never NaN nor infinite."""
        costs = self._at_rungs(trial) if self._by_rungs else self._by_seed(trial)
        return {at: self._objective.value(min(cost, _LARGEST)) for at, cost in costs.items()}

    def own_step(self, trial: int, rung: int) -> int:
        """The step of a trial's own runs at a rung."""
        return self._rungs(self._book.rows(trial)[0]).get(rung, rung)

    def _at_rungs(self, trial: int) -> dict[int, float]:
        rows = sorted(self._book.rows(trial), key=lambda row: row.run.id)[: self._first_seeds]
        losses = [self._losses_of(row) for row in rows]
        rungs = self._rungs(rows[0])
        shared = [rung for rung, step in rungs.items() if all(step in own for own in losses)]
        return {rung: max(score(own[rungs[rung]]) for own in losses) for rung in shared}

    def _losses_of(self, row: RunRow) -> Mapping[int, float]:
        """Losses of a run by its own steps."""
        result = row.result
        if result is None:
            return self._losses.get(row.run.id, {})
        steps = set(self._rungs(row).values())
        found = dict(passed(result["curve"], steps))
        if result["steps"] < row.run.horizon:  # non-finite or hopeless
            found |= {step: math.inf for step in steps if step not in found}
        return found

    def _rungs(self, row: RunRow) -> dict[int, int]:
        """The steps of a run at the rungs."""
        horizon = row.run.horizon
        if horizon not in self._matched:
            self._matched[horizon] = matched(horizon, self._longest)
        return self._matched[horizon]

    def _by_seed(self, trial: int) -> dict[int, float]:
        return {
            row.run.id - trial * self._seeds: _cost(row.result, self._objective)
            for row in self._book.rows(trial)
            if row.result is not None
        }


def score(loss: float) -> float:
    """log10 of a loss; losses that are not positive keep their order, below all others."""
    if not math.isfinite(loss):
        return _LARGEST
    return math.log10(loss) if loss > 0 else max(_BELOW_EVERY_LOG + loss, -_LARGEST)


def _cost(result: dict[str, Any] | Result, objective: Objective) -> float:
    """What one run came to, to be minimised."""
    if not objective.is_loss:
        return float(metric_costs([result], objective)[0])
    tail = result["tail_loss"]
    if tail is None or not result["finite"]:
        return _LARGEST
    return score(tail if result.get("negative") else max(tail, result["floor"]))
