"""Trials from their proposal to their telling: the book, the search and the objective together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sweeper.lane.run import Run
from sweeper.ranking.evidence import is_feasible
from sweeper.ranking.objective import trial_result
from sweeper.ranking.objectives import Objective, objective_value, objective_values
from sweeper.spec import SweepSpec
from sweeper.study.book import Book
from sweeper.study.database import (
    BASELINE,
    COMPLETE,
    FAIL,
    PRUNED,
    RUNNING,
    SEARCH,
    STRESS,
    Change,
    Trial,
)
from sweeper.study.programs import count_programs, open_factor
from sweeper.study.pruners import Comparison, make_pruner
from sweeper.study.samplers import ADAPTIVE
from sweeper.study.search import Search
from sweeper.study.stress import FIRST_RUN, FIRST_TRIAL, Case, missing


def open_trials_limit(spec: SweepSpec) -> int | None:
    """Trials to train at once: an adaptive sampler learns nothing from those still running.

    A quarter more may be proposed ahead, so that a free slot finds its next run waiting. For
    several programs there are more, see sweeper.study.programs.
    """
    if spec.search.sampler not in ADAPTIVE:
        return None
    return max(1, int(spec.budget.trials / 8 * open_factor(count_programs(spec))))


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
        self._objectives, search = spec.objectives, spec.search
        self.comparison = Comparison(book, spec)
        pruner = make_pruner(spec.pruning, spec.lengths[-1])
        self._search = Search(
            spec.parsed_space,
            search.sampler,
            search.seed,
            self._objectives,
            pruner,
            search.most_shown,
        )
        searched = [t for t in book.trials.values() if t.origin == SEARCH]
        self._search.rebuild(searched, {t.number: self._compared(t) for t in searched})
        self._proposed: list[tuple[Trial, list[Run]]] = []  # asked for, not yet in the database
        self._tests: tuple[int, list[Case]] | None = None  # by the number of told trials
        self.best: dict[str, Any] | None = None
        for trial in list(book.trials.values()):
            self._note_best(trial)
            if trial.told is not None:
                book.forget(trial.number)

    def propose(self, runs: int) -> bool:
        """Propose trials of the search until they have so many runs, as far as may be open.

        Returns:
            False for none.
        """
        width, first = self._spec.first_seeds, self._book.searched
        while len(self._proposed) * width < runs:
            number = first + len(self._proposed)
            n_open = len(self._book.open) + len(self._proposed)
            if number >= self._spec.budget.trials or n_open >= self._most_open:
                break
            self._proposed.append(self._propose(number))
        return bool(self._proposed)

    def propose_tests(self) -> bool:
        """Propose the next stage of the stress test, instead of anything else; False for none."""
        tests = self.missing_tests()
        count = len(self._book.trials) - self._book.searched
        run = FIRST_RUN + sum(len(self._book.rows(FIRST_TRIAL + done)) for done in range(count))
        self._proposed = []
        for number, test in enumerate(tests, start=FIRST_TRIAL + count):
            steps = self._spec.stress_steps(test.config)
            runs = [
                Run(run + index, number, test.config, seed, steps)
                for index, seed in enumerate(test.seeds)
            ]
            said = {"of": test.of, "change": test.change}
            trial = Trial(number, STRESS, test.config, {}, RUNNING, None, None, stress=said)
            self._proposed.append((trial, runs))
            run += len(runs)
        return bool(tests)

    def missing_tests(self) -> list[Case]:
        """The next stage of the stress test, once the search is over and nothing is open."""
        if self._tests is None or self._tests[0] != self._book.told:
            self._tests = self._book.told, missing(self._spec, *self._book.everything())
        return self._tests[1]

    def add_proposed(self) -> list[int]:
        """Add what was proposed to the book; returns the runs."""
        runs = [run for _, own in self._proposed for run in own]
        self._book.add([trial for trial, _ in self._proposed], runs)
        self._proposed = []
        return [run.id for run in runs]

    def ended_by(self, done: Mapping[int, Mapping[str, Any]]) -> tuple[list[Trial], list[Run]]:
        """What these results of runs end: trials, in the order of their numbers.

        Returns:
            The trials with their results; and runs on the further seeds that others have earned.
        """
        told: list[Trial] = []
        added: list[Run] = []
        for number in sorted({self._book.runs[run].run.trial for run in done}):
            results = [done.get(row.run.id, row.result) for row in self._book.rows(number)]
            known = [result for result in results if result is not None]
            if len(known) < len(results):
                continue
            trial = self._book.trials[number]
            result = self._result(trial.config, known)
            further = self._further(trial, result)
            if not further:
                place = self._book.told + len(told) + 1
                told.append(replace(trial, state=COMPLETE, result=result, told=place))
            added += further
        return told, added

    def _further(self, trial: Trial, result: Mapping[str, Any]) -> list[Run]:
        """As many more runs as have held, while a trial is feasible and has seeds left."""
        made = int(result["runs"])
        if trial.origin == STRESS or not is_feasible(result):
            return []
        wanted = range(made, min(2 * made, len(self._seeds)))
        return [self._run(trial.number, trial.config, index) for index in wanted]

    def given_up(self, run: int, error: str) -> Trial:
        """The trial of a run that can't be trained."""
        trial = self._book.trials[self._book.runs[run].run.trial]
        return replace(trial, state=FAIL, told=self._book.told + 1, error=error)

    def pruned_by(
        self,
        rungs: Mapping[int, Sequence[tuple[int, float]]],
        done: Iterable[int],
        held: Mapping[int, int],
    ) -> Change | None:
        """The end of those trials that the pruner ends by a report; None for none of them.

        Args:
            rungs: step and loss of the rungs that runs have passed, by run.
            done: runs that have ended.
            held: step by run that the lane has.
        """
        if not self._spec.pruning.is_on:
            return None
        self.comparison.note(rungs)
        told = self._pruned({self._book.runs[run].run.trial for run in (*rungs, *done)})
        if not told:
            return None
        left = [n for trial in told for n in self._book.rows(trial.number) if n.result is None]
        # They are not saved any more, and what they have made counts all the same.
        made = {
            row.run.id: max(
                row.step, self.comparison.steps_of(row.run.id), held.get(row.run.id, 0)
            )
            for row in left
        }
        return Change(saved=made, told=told)

    def _pruned(self, numbers: Iterable[int]) -> list[Trial]:
        found: list[Trial] = []
        for number in sorted(numbers):
            trial = self._book.trials[number]
            if trial.origin != SEARCH or number not in self._book.open:
                continue
            searched = number - len(self._baselines)
            at = self._search.report(searched, self.comparison.values(number))
            if at is not None:
                shown, place = self._search.shown(searched), self._book.told + len(found) + 1
                found.append(self._end_early(trial, shown, at, place))
        return found

    def _end_early(self, trial: Trial, shown: Mapping[int, float], at: int, place: int) -> Trial:
        step = self.comparison.own_step(trial.number, at)
        where = f"at step {step}" if self._spec.pruning.by_rungs else f"after {len(shown)} seeds"
        reason = f"pruned {where} by {self._spec.pruning.name}"
        rungs = [[step, value] for step, value in sorted(shown.items())]
        return replace(trial, state=PRUNED, told=place, error=reason, rungs=rungs)

    def write(self, change: Change) -> list[str]:
        """Make a change, durably, and tell the trials in it; returns row files of no more use."""
        obsolete = self._book.write(change)
        for trial in change.told:
            if trial.origin == SEARCH:
                self._tell(trial)
            self._note_best(trial)
            self.comparison.forget(trial.number)
            self._book.forget(trial.number)
        return obsolete

    def _result(self, config: Mapping[str, Any], runs: list[Mapping[str, Any]]) -> dict[str, Any]:
        limits = self._limits
        found = trial_result(
            runs,
            climb=limits.climb,
            give_back=limits.give_back,
            cvar=limits.cvar,
            stress_horizon=self._spec.probed_steps(config) or 0,
        )
        return found | objective_values(found, runs, self._objectives, limits.cvar)

    def _propose(self, number: int) -> tuple[Trial, list[Run]]:
        if number < len(self._baselines):
            draws: dict[str, Any] = {}
            origin, config = BASELINE, self._baselines[number]
        else:
            origin = SEARCH
            draws, config = self._search.ask()
        runs = [self._run(number, config, index) for index in range(self._spec.first_seeds)]
        return Trial(number, origin, config, draws, RUNNING, None, None), runs

    def _run(self, number: int, config: dict[str, Any], index: int) -> Run:
        """The run of a trial of the search on its seed of that index."""
        run = number * len(self._seeds) + index
        return Run(run, number, config, self._seeds[index], self._spec.steps(config))

    def _tell(self, trial: Trial) -> None:
        number = trial.number - len(self._baselines)
        if trial.state == PRUNED:
            self._search.prune(number)
        elif trial.result is None:
            self._search.fail(number)
        else:
            self._search.learn(number, self._compared(trial))
            self._search.tell(number, trial.result)

    def _compared(self, trial: Trial) -> dict[int, float]:
        """The values that the pruner has of a trial, as far as they are on disk."""
        if not self._spec.pruning.is_on or trial.state == FAIL:
            return {}
        if trial.state == PRUNED:
            return {int(step): value for step, value in trial.rungs or ()}
        return self.comparison.values(trial.number)

    def _note_best(self, trial: Trial) -> None:
        if trial.result is None or trial.origin == STRESS:
            return
        found = {"trial": trial.number, "config": trial.config, **trial.result}
        first = self._objectives[0]
        if self.best is None or _order(found, first) < _order(self.best, first):
            self.best = found


def _order(found: Mapping[str, Any], objective: Objective) -> tuple[float, bool, float, int]:
    cost = objective.cost(objective_value(found, objective))
    return found["failure_fraction"], found["violation"] > 0, cost, found["trial"]
