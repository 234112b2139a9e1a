"""The study: one object that leases runs to lanes, takes their reports and tells Optuna."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from sweeper.lane.protocol import Answer, Grant, Report
from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part
from sweeper.ranking.objective import trial_result
from sweeper.spec import SweepSpec
from sweeper.study.database import COMPLETE, RUNNING, Database, RunRow, Trial
from sweeper.study.leases import Leases
from sweeper.study.samplers import ADAPTIVE
from sweeper.study.search import Search

# A lane process that fails this often in a row, without a step in between, ends the sweep.
_MAX_FAILURES = 3


def open_trials_limit(spec: SweepSpec) -> int | None:
    """Trials to train at once: an adaptive sampler learns nothing from those still running.

    A quarter more may be proposed ahead, so that a free slot finds its next run waiting.
    """
    return max(1, spec.budget.trials // 8) if spec.search.sampler in ADAPTIVE else None


class Study:
    """Thread-safe. Every answer is on disk before it is given.

    Args:
        database: of the sweep; what it holds is taken over.
        spec: of the sweep.
        hold_back_s: seconds in which runs that were open before are only given to a lane that
            says it holds them: what a restart under living lanes needs.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        database: Database,
        spec: SweepSpec,
        *,
        hold_back_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._spec, self._clock = database, spec, clock
        self._lock = threading.RLock()
        self._limits = spec.stability.limits()
        self._open_limit = open_trials_limit(spec)
        self._baselines, self._seeds = spec.baselines, spec.seed_list
        self._trials = {trial.number: trial for trial in database.trials()}
        self._runs = {row.run.id: row for row in database.runs()}
        self._open = {number for number, trial in self._trials.items() if trial.state == RUNNING}
        self._told = sum(trial.told is not None for trial in self._trials.values())
        self._steps = sum(row.step for row in self._runs.values())
        self._best: dict[str, Any] | None = None
        self._search = Search(spec.parsed_space, spec.search.sampler, spec.search.seed)
        self._search.rebuild([t for t in self._trials.values() if t.origin == "search"])
        for trial in self._trials.values():
            self._note_best(trial)
        self._elapsed_before = float(database.meta("elapsed_s") or 0.0)
        self._started = clock()
        self._leases = Leases(clock, hold_until=clock() + hold_back_s)
        self._failures = 0
        self._error: str | None = None

    # What lanes call

    def sync(self, report: Report) -> Answer:
        """Exchange with a lane; see sweeper.lane.protocol."""
        with self._lock:
            self._leases.heard(report)
            drop = tuple(run for run in report.held if not self._adopt(report, run))
            obsolete = self._take(report)
            if self.finished or self._error:
                return Answer(drop, (), obsolete, end=True)
            return Answer(drop, self._grants(report), obsolete)

    def lane_failed(self, message: str, *, final: bool) -> None:
        """A lane process ended with an error; `final` when a restart would not cure it."""
        with self._lock:
            self._failures += 1
            if final or self._failures >= _MAX_FAILURES:
                self._error = message

    # What the driver calls

    @property
    def finished(self) -> bool:
        """Whether every trial is told and no further one may start."""
        with self._lock:
            return not self._open and not self._may_start()

    def status(self) -> dict[str, Any]:
        """Progress in plain values."""
        with self._lock:
            return {
                "trials": self._spec.budget.trials,
                "told": self._told,
                "running": len(self._open),
                "run_steps": self._steps_now(),
                "best": self._best,
                "lanes": self._leases.lanes(),
                "elapsed_s": self._elapsed(),
                "finished": self.finished,
                "error": self._error,
            }

    # Reports

    def _adopt(self, report: Report, run: int) -> bool:
        """Whether the lane may go on with a run that it holds."""
        row = self._runs.get(run)
        if row is None or row.result is not None:
            return False
        return self._leases.acquire(run, report.who.process)

    def _take(self, report: Report) -> tuple[str, ...]:
        """Put what was reported on disk; returns row files that nobody needs any more."""
        mine = {run for run in (*report.done, *report.saved) if self._is_owned(run, report)}
        done = {run: result for run, result in report.done.items() if run in mine}
        saved = {run: step for run, step in report.saved.items() if run in mine - set(done)}
        if not mine:
            return ()
        before = {self._runs[run].row_file for run in mine}
        for run, step in saved.items():
            self._advance(run, step, report.row_file)
        for run, result in done.items():
            self._advance(run, result["steps"], None)
            self._runs[run].result = dict(result)
            self._leases.release(run)
        told = [
            self._complete(n)
            for n in sorted({self._runs[r].run.trial for r in done})
            if self._is_complete(n)
        ]
        self._database.record(
            saved=saved,
            row_file=report.row_file,
            done=done,
            part=_part_of(report.part, mine),
            told=told,
            meta={"elapsed_s": self._elapsed()},
        )
        for trial in told:
            self._tell(trial)
        self._failures = 0
        still_needed = {row.row_file for row in self._runs.values() if row.result is None}
        return tuple(path for path in before - still_needed if path is not None)

    def _is_owned(self, run: int, report: Report) -> bool:
        """Whether a report on a run counts: it is open, and nobody else has its lease."""
        row = self._runs.get(run)
        is_open = row is not None and row.result is None
        return is_open and self._leases.acquire(run, report.who.process)

    def _advance(self, run: int, step: int, row_file: str | None) -> None:
        row = self._runs[run]
        self._steps += step - row.step
        row.step, row.row_file = step, row_file

    # Trials

    def _is_complete(self, number: int) -> bool:
        return number in self._open and all(row.result is not None for row in self._rows(number))

    def _rows(self, number: int) -> list[RunRow]:
        width = len(self._seeds)
        return [self._runs[number * width + index] for index in range(width)]

    def _complete(self, number: int) -> Trial:
        limits = self._limits
        result = trial_result(
            [row.result for row in self._rows(number) if row.result is not None],
            climb=limits.climb,
            give_back=limits.give_back,
            cvar=limits.cvar,
        )
        old = self._trials[number]
        self._told += 1
        trial = Trial(number, old.origin, old.config, old.draws, COMPLETE, result, self._told)
        self._trials[number] = trial
        self._open.discard(number)
        return trial

    def _tell(self, trial: Trial) -> None:
        assert trial.result is not None
        if trial.origin == "search":
            number = trial.number - len(self._baselines)
            self._search.tell(number, trial.result["robust_loss"], trial.result["violation"])
        self._note_best(trial)

    def _note_best(self, trial: Trial) -> None:
        if trial.result is None:
            return
        found = {"trial": trial.number, "config": trial.config, **trial.result}
        if self._best is None or _order(found) < _order(self._best):
            self._best = found

    def _may_start(self) -> bool:
        budget = self._spec.budget
        return (
            len(self._trials) < budget.trials
            and (budget.time is None or self._elapsed() < budget.time)
            and (budget.run_steps is None or self._steps_now() < budget.run_steps)
        )

    def _start_trials(self, room: int) -> list[Run]:
        """New trials until their runs fill the room, as far as they may start."""
        trials: list[Trial] = []
        runs: list[Run] = []
        limit = None if self._open_limit is None else math.ceil(1.25 * self._open_limit)
        while len(runs) < room and self._may_start():
            if limit is not None and len(self._open) >= limit:
                break
            trial, own = self._start_trial()
            trials.append(trial)
            runs += own
        if trials:
            self._database.add_trials(trials, runs)
        return runs

    def _start_trial(self) -> tuple[Trial, list[Run]]:
        number = len(self._trials)
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
        trial = Trial(number, origin, config, draws, RUNNING, None, None)
        self._trials[number] = trial
        self._open.add(number)
        self._runs |= {run.id: RunRow(run, 0, None, None) for run in runs}
        return trial, runs

    # Leases

    def _grants(self, report: Report) -> tuple[Grant, ...]:
        process, held = report.who.process, set(report.held)
        # An answer that was lost: what it granted is granted again.
        again = [run for run in self._leases.of(process) if run not in held]
        chosen = again + self._choose(self._portion(report) - len(again))
        for run in chosen:
            self._leases.acquire(run, process)
        return tuple(Grant(self._runs[run].run, self._runs[run].row_file) for run in chosen)

    def _portion(self, report: Report) -> int:
        """Runs to give at once. An adaptive search fills a pack by quarters: its rows then end at
        different times, and proposing their successors overlaps with the training of the others.
        """
        if self._open_limit is None:
            return report.room
        return min(report.room, max(1, math.ceil(report.capacity / 4)))

    def _choose(self, room: int) -> list[int]:
        """Runs that nobody has, oldest trial first; new trials are started as far as they may."""
        if room <= 0:
            return []
        free = [
            row.run.id
            for number in sorted(self._open)
            for row in self._rows(number)
            if row.result is None and self._leases.is_free(row.run.id)
        ]
        free += [run.id for run in self._start_trials(room - len(free))]
        return free[:room]

    def _steps_now(self) -> int:
        return self._steps + self._leases.steps_beyond(
            {r: self._runs[r].step for r in self._leases.all()}
        )

    def _elapsed(self) -> float:
        return self._elapsed_before + self._clock() - self._started


def _order(found: Mapping[str, Any]) -> tuple[float, float, int]:
    return found["failure_fraction"], found["robust_loss"], found["trial"]


def _part_of(part: Part | None, runs: set[int]) -> Part | None:
    """A part with the spans of some runs only."""
    if part is None:
        return None
    return Part(part.path, tuple(span for span in part.spans if span.run in runs))
