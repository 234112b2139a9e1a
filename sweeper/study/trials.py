"""Trials from their proposal to their telling: the book, the search and the objective together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sweeper.lane.run import Run
from sweeper.ranking.objective import trial_result
from sweeper.spec import SweepSpec
from sweeper.study.book import Book
from sweeper.study.database import COMPLETE, FAIL, RUNNING, Change, Trial
from sweeper.study.samplers import ADAPTIVE
from sweeper.study.search import Search


def open_trials_limit(spec: SweepSpec) -> int | None:
    """Trials to train at once: an adaptive sampler learns nothing from those still running.

    A quarter more may be proposed ahead, so that a free slot finds its next run waiting.
    """
    return max(1, spec.budget.trials // 8) if spec.search.sampler in ADAPTIVE else None


class Trials:
    """Proposes, completes and tells the trials of a book.

    Args:
        book: what it holds is taken over by the search.
        spec: of the sweep.
    """

    def __init__(self, book: Book, spec: SweepSpec) -> None:
        self._book, self._spec = book, spec
        self._limits = spec.stability.limits()
        limit = open_trials_limit(spec)
        self._most_open = math.inf if limit is None else math.ceil(1.25 * limit)
        self._baselines, self._seeds = spec.baselines, spec.seed_list
        self._search = Search(spec.parsed_space, spec.search.sampler, spec.search.seed)
        self._search.rebuild([t for t in book.trials.values() if t.origin == "search"])
        self._proposed: list[tuple[Trial, list[Run]]] = []  # asked for, not yet in the database
        self.best: dict[str, Any] | None = None
        for trial in book.trials.values():
            self._note_best(trial)

    def propose(self, runs: int) -> bool:
        """Propose trials until they have so many runs, as far as may be open; False for none."""
        width, first = len(self._seeds), len(self._book.trials)
        while len(self._proposed) * width < runs:
            number = first + len(self._proposed)
            n_open = len(self._book.open) + len(self._proposed)
            if number >= self._spec.budget.trials or n_open >= self._most_open:
                break
            self._proposed.append(self._propose(number))
        return bool(self._proposed)

    def add_proposed(self) -> list[int]:
        """Add what was proposed to the book; returns the runs."""
        runs = [run for _, own in self._proposed for run in own]
        self._book.add([trial for trial, _ in self._proposed], runs)
        self._proposed = []
        return [run.id for run in runs]

    def completed_by(self, done: Mapping[int, Mapping[str, Any]]) -> list[Trial]:
        """The trials that these results of runs complete, in the order of their numbers."""
        told: list[Trial] = []
        for number in sorted({self._book.runs[run].run.trial for run in done}):
            results = [done.get(row.run.id, row.result) for row in self._book.rows(number)]
            known = [result for result in results if result is not None]
            if len(known) == len(results):
                place = self._book.told + len(told) + 1
                trial, result = self._book.trials[number], self._result(known)
                told.append(replace(trial, state=COMPLETE, result=result, told=place))
        return told

    def given_up(self, run: int, error: str) -> Trial:
        """The trial of a run that can't be trained."""
        trial = self._book.trials[self._book.runs[run].run.trial]
        return replace(trial, state=FAIL, told=self._book.told + 1, error=error)

    def write(self, change: Change) -> list[str]:
        """Make a change, durably, and tell the trials in it; returns row files of no more use."""
        obsolete = self._book.write(change)
        for trial in change.told:
            if trial.origin == "search":
                self._tell(trial)
            self._note_best(trial)
        return obsolete

    def _result(self, runs: list[Mapping[str, Any]]) -> dict[str, Any]:
        limits = self._limits
        return trial_result(
            runs,
            climb=limits.climb,
            give_back=limits.give_back,
            cvar=limits.cvar,
            stress_horizon=self._spec.probed_steps or 0,
        )

    def _propose(self, number: int) -> tuple[Trial, list[Run]]:
        if number < len(self._baselines):
            draws: dict[str, Any] = {}
            origin, config = "baseline", self._baselines[number]
        else:
            origin = "search"
            draws, config = self._search.ask()
        width, horizon = len(self._seeds), self._spec.horizon
        runs = [
            Run(number * width + index, number, config, seed, horizon)
            for index, seed in enumerate(self._seeds)
        ]
        return Trial(number, origin, config, draws, RUNNING, None, None), runs

    def _tell(self, trial: Trial) -> None:
        number = trial.number - len(self._baselines)
        if trial.result is None:
            self._search.fail(number)
        else:
            self._search.tell(number, trial.result["robust_loss"], trial.result["violation"])

    def _note_best(self, trial: Trial) -> None:
        if trial.result is None:
            return
        found = {"trial": trial.number, "config": trial.config, **trial.result}
        if self.best is None or _order(found) < _order(self.best):
            self.best = found


def _order(found: Mapping[str, Any]) -> tuple[float, bool, float, int]:
    is_infeasible = found["violation"] > 0
    return found["failure_fraction"], is_infeasible, found["robust_loss"], found["trial"]
