"""The study's book: trials and runs in memory as the database has them, which is written first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sweeper.lane.run import Run
from sweeper.lane.trajectories import Span
from sweeper.ranking.objective import Result
from sweeper.study.database import RUNNING, STRESS, Change, Database, RunRow, Trial
from sweeper.study.standing import results_of


class Book:
    """Trials and runs of one sweep. A write that fails changes nothing here either.

    Args:
        database: of the sweep; what it holds is taken over.
        keeps_results: of the runs of trials that were told; else these are in the database alone.
    """

    def __init__(self, database: Database, *, keeps_results: bool = True) -> None:
        self._database, self._keeps_results = database, keeps_results
        self.trials = {trial.number: trial for trial in database.trials()}
        self.runs = {row.run.id: row for row in database.runs(told=keeps_results)}
        self._rows: dict[int, list[RunRow]] = {number: [] for number in self.trials}
        for row in self.runs.values():
            self._rows[row.run.trial].append(row)
        self.open = {number for number, trial in self.trials.items() if trial.state == RUNNING}
        self.told = sum(trial.told is not None for trial in self.trials.values())
        self.steps = sum(row.step for row in self.runs.values())
        tests = [trial for trial in self.trials.values() if trial.origin == STRESS]
        self.searched = len(self.trials) - len(tests)
        self.tests_told = sum(trial.told is not None for trial in tests)
        self._users = Counter(row.row_file for row in self.open_runs() if row.row_file)

    def rows(self, number: int) -> list[RunRow]:
        """The runs of a trial."""
        return self._rows[number]

    def forget(self, number: int) -> None:
        """Leave out of memory what a told trial came to, unless that is kept."""
        if not self._keeps_results:
            self.trials[number] = replace(self.trials[number], draws={}, result=None)
            for row in self._rows[number]:
                row.result = None

    def everything(self) -> tuple[list[Trial], dict[int, list[Result]]]:
        """All trials as the database has them, and the verdicts of their runs by trial."""
        return self._database.trials(), results_of(self._database)

    def is_open(self, run: int) -> bool:
        """Whether a run is still to be trained."""
        row = self.runs.get(run)
        return row is not None and row.result is None and row.run.trial in self.open

    def open_runs(self) -> list[RunRow]:
        """Runs that are still to be trained, the oldest trial first."""
        return [n for number in sorted(self.open) for n in self.rows(number) if n.result is None]

    def needs(self, row_file: str) -> bool:
        """Whether an open run would go on from a row file."""
        return row_file in self._users

    def continues(self, run: int, spans: Iterable[Span], step: int, *, ended: bool) -> bool:
        """Whether these spans lead from what is on disk of a run to `step`, without a gap."""
        at = self.runs[run].step
        for span in sorted(spans, key=lambda span: span.first):
            if span.first != at:
                return False
            at = span.stop
        # The step at which a loss turns non-finite is on record, and not counted by the verdict.
        return at == step or (ended and at == step + 1)

    def add(self, trials: Sequence[Trial], runs: Sequence[Run]) -> None:
        """Add trials and their runs, durably."""
        self._database.add_trials(trials, runs)
        self.trials |= {trial.number: trial for trial in trials}
        self.open |= {trial.number for trial in trials}
        self.searched += sum(trial.origin != STRESS for trial in trials)
        self._rows |= {trial.number: [] for trial in trials}
        self._add_runs(runs)

    def write(self, change: Change) -> list[str]:
        """Make a change, durably; returns row files that nobody needs after it."""
        self._database.record(change)
        touched = {*change.saved, *change.done, *change.reset}
        touched |= {row.run.id for trial in change.told for row in self.rows(trial.number)}
        before = {self.runs[run].row_file for run in touched}
        for run, step in change.saved.items():
            self._move(run, step, change.row_file)
        for run in change.reset:
            self._move(run, 0, None)
        for run, result in change.done.items():
            self._move(run, result["steps"], None)
            self.runs[run].result = dict(result)
        self._add_runs(change.added)
        for run, count in change.deaths.items():
            self.runs[run].deaths = count
        for trial in change.told:
            self._close(trial)
        return sorted(path for path in before if path is not None and path not in self._users)

    def _add_runs(self, runs: Iterable[Run]) -> None:
        for run in runs:
            row = RunRow(run, 0, None, None)
            self.runs[run.id] = row
            self._rows[run.trial].append(row)

    def _move(self, run: int, step: int, row_file: str | None) -> None:
        row = self.runs[run]
        self.steps += step - row.step
        row.step = step
        self._name(row, row_file)

    def _name(self, row: RunRow, row_file: str | None) -> None:
        """Let a run need another row file, or none."""
        if row.row_file is not None:
            self._users[row.row_file] -= 1
            if not self._users[row.row_file]:
                del self._users[row.row_file]
        if row_file is not None:
            self._users[row_file] += 1
        row.row_file = row_file

    def _close(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        self.open.discard(trial.number)
        self.told += 1
        self.tests_told += trial.origin == STRESS
        for row in self.rows(trial.number):  # those that were given up still had one
            self._name(row, None)
