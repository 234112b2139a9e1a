"""The study: one object that leases runs to lanes, takes their reports and tells Optuna."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

from sweeper.lane.protocol import Answer, Grant, Report
from sweeper.spec import SweepSpec
from sweeper.study import reports
from sweeper.study.book import Book
from sweeper.study.database import Change, Database, Unavailable
from sweeper.study.hours import Hours
from sweeper.study.inquests import Inquests
from sweeper.study.leases import Death, Leases
from sweeper.study.programs import Grouping
from sweeper.study.suspects import Suspects
from sweeper.study.trials import Trials, open_trials_limit

_HEALTH_EVERY_S = 2.0


class Study:
    """Thread-safe. Every answer is on disk before it is given.

    A call that raises Unavailable has changed nothing that anybody sees. What it was about to
    write is written before anything else is done: the database may have it already.

    Args:
        database: of the sweep; what it holds is taken over.
        spec: of the sweep.
        hold_back_s: seconds in which runs that were open before are only given to a lane that
            says it holds them: what a restart under living lanes needs.
        clock: seconds, monotonic.
        wall_clock: seconds since 1970.
        explain: the last words of a dead lane process, or why it doesn't count as a death of its
            runs: None, e.g. when its whole node is gone.
    """

    def __init__(
        self,
        database: Database,
        spec: SweepSpec,
        *,
        hold_back_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        explain: Callable[[Death], str | None] = lambda death: "",
    ) -> None:
        self._database, self._spec, self._clock = database, spec, clock
        self._wall_clock = wall_clock
        self._lock = threading.RLock()
        self._is_adaptive = open_trials_limit(spec) is not None
        # A pruner compares by what trials came to; else that would be most of the memory.
        self._book = Book(database, keeps_results=spec.pruning.is_on)
        self._trials = Trials(self._book, spec)
        self._grouping = Grouping(self._book, spec)
        self._hours = Hours(clock, float(database.meta("elapsed_s") or 0.0))
        rows = self._book.open_runs()
        hold_until, listening = clock() + hold_back_s, self._hours.listening
        self._leases = Leases(listening, [row.run.id for row in rows], hold_until=hold_until)
        self._suspects = Suspects({row.run.id: (row.deaths, row.step) for row in rows})
        self._dead: deque[Death] = deque()  # to be buried
        self._apart: set[str] = set()  # lane processes that train suspects, group by group
        self._unsure: Callable[[], None] | None = None  # begun, and perhaps not on disk
        self._obsolete: list[str] = []
        self._closing = False
        self._health_at = float("-inf")
        before = database.meta("health") or {}
        repeated = int(before.get("repeated_steps", 0))
        if not hold_back_s:  # no lane lives on that has what was not saved
            repeated += max(0, int(before.get("run_steps", 0)) - self._book.steps)
        self._inquests = Inquests(
            self._book,
            self._trials,
            self._suspects,
            explain=explain,
            write=self._write,
            repeated=repeated,
        )

    # What lanes call

    def sync(self, report: Report) -> Answer:
        """Exchange with a lane; see sweeper.lane.protocol."""
        process = report.who.process
        with self._lock:
            if self._leases.is_gone(process):
                return Answer(gone=True)
            if self._leases.is_stale(report):
                return Answer()
            self._dead += self._leases.heard(report)
            self._settle()
            self._reset(report)
            refused = reports.refused(report, self._book)
            for run in refused & set(self._leases.of(process)):
                self._leases.give_back(run)  # somebody else may be right
            drop = tuple(r for r in report.held if r in refused or not self._adopt(report, r))
            self._take(report, refused)
            drop += tuple(r for r in report.held if r not in drop and not self._book.is_open(r))
            drop += self._take_back(report)
            if report.leaving:
                self._leases.remove(process)
            self._note_health()
            is_end = report.leaving or self._closing or bool(self._inquests.error) or self.finished
            grant = () if is_end else self._grants(report)
            is_dry = len(grant) < report.room and not self._may_search()
            obsolete, self._obsolete = tuple(self._obsolete), []
            return Answer(drop, grant, obsolete, end=is_end, is_dry=is_dry)

    def lane_failed(self, process: str, message: str, *, final: bool) -> None:
        """A lane process ended with an error; `final` when a restart would not cure it."""
        with self._lock:
            if final:
                self._inquests.error = message
            self._settle()
            is_known = self._leases.is_dead(process)
            death = self._leases.remove(process)
            if death is not None and final:
                self._inquests.count_repeated(death)
            elif death is not None:
                self._inquests.died(death, message, is_crash=True)
            elif not (is_known or final):
                self._inquests.failed(message)

    # What the driver calls

    def close(self) -> None:
        """From now on no run is given out, and every lane is told to save and leave."""
        with self._lock:
            self._closing = True

    @property
    def finished(self) -> bool:
        """Whether every trial is told and no further one may start."""
        with self._lock:
            return not (self._book.open or self._may_search() or self._may_test())

    def status(self) -> dict[str, Any]:
        """Progress in plain values."""
        with self._lock:
            self._note_health()
            return {
                "trials": self._spec.budget.trials,
                "told": self._book.told - self._book.tests_told,
                "tests": len(self._book.trials) - self._book.searched,
                "tests_told": self._book.tests_told,
                "running": len(self._book.open),
                "run_steps": self._steps_now(),
                "best": self._trials.best,
                "lanes": self._leases.lanes(),
                "waits": self._waits(),
                "elapsed_s": self._hours.spent(),
                "finished": self.finished,
                "error": self._inquests.error,
            }

    # What was begun

    def _settle(self) -> None:
        """Finish what was begun: what may or may not be on disk, and who is to be buried."""
        work, self._unsure = self._unsure, None
        if work is not None:
            self._do(work)
        while self._dead:
            self._inquests.found_dead(self._dead.popleft())

    def _do(self, work: Callable[[], None]) -> None:
        """Do something that writes; what the database fails on is done again, before all else."""
        with self._hours.deaf():
            try:
                work()
            except Unavailable:
                self._unsure = work
                raise

    def _write(self, change: Change, then: Callable[[], None]) -> None:
        """Make a change, and do what follows from it once it is on disk."""

        def work() -> None:
            self._obsolete += self._trials.write(change)
            for trial in change.told:
                runs = [row.run.id for row in self._book.rows(trial.number)]
                self._suspects.clear(runs)
                for run in runs:
                    self._leases.release(run)
            then()

        self._do(work)

    # Reports

    def _adopt(self, report: Report, run: int) -> bool:
        """Whether the lane may go on with a run that it holds."""
        return self._book.is_open(run) and self._leases.acquire(run, report.who.process)

    def _reset(self, report: Report) -> None:
        """Start runs anew whose row file can't be read.

        Who was silent for long may speak of a row file that was replaced since, and removed.
        """
        runs = self._book.runs
        lost = [r for r in report.lost if self._leases.was_given(report, r, runs[r].row_file)]
        if lost:
            self._write(Change(reset=lost), lambda: None)

    def _take(self, report: Report, refused: set[int]) -> None:
        """Put what was reported on disk."""
        reported = [r for r in (*report.done, *report.saved) if r not in refused]
        mine = {run for run in reported if self._adopt(report, run)}
        mine -= {run for run in mine if reports.is_known(report, run, self._book)}
        done = {run: result for run, result in report.done.items() if run in mine}
        # A row without progress says nothing: the one before is as good, and may be in use.
        rows = {run: step for run, step in report.saved.items() if run in mine - set(done)}
        saved = {run: step for run, step in rows.items() if step > self._book.runs[run].step}
        held = {run: step for run, step in report.held.items() if self._is_owner(report, run)}
        cleared = self._suspects.cleared_by(held, saved, done)
        if done or saved or cleared:
            told, added = self._trials.ended_by(done)
            change = Change(
                saved=saved,
                row_file=report.row_file,
                done=done,
                part=reports.part_of(report.part, {*done, *saved}),
                added=added,
                told=told,
                deaths=dict.fromkeys(cleared, 0),
                meta={"elapsed_s": self._hours.spent()},
            )
            self._write(change, partial(self._taken, change))
        self._prune(report, held, done)
        if report.row_file is not None and not self._book.needs(report.row_file):
            self._obsolete.append(report.row_file)
        ahead = (step - self._book.runs[run].step for run, step in held.items())
        self._leases.note_beyond(report.who.process, sum(max(0, steps) for steps in ahead))

    def _taken(self, change: Change) -> None:
        self._suspects.clear(change.deaths)
        for run in change.done:
            self._leases.release(run)
        self._leases.offer(run.id for run in change.added)
        if change.done or change.saved:
            self._inquests.got_ahead()

    def _prune(self, report: Report, held: Iterable[int], done: Iterable[int]) -> None:
        """End trials of which this report says enough; their runs are dropped by their lanes."""
        rungs = {run: report.rungs[run] for run in held if run in report.rungs}
        change = self._trials.pruned_by(rungs, done, report.held)
        if change is not None:
            self._write(change, lambda: None)

    def _is_owner(self, report: Report, run: int) -> bool:
        return self._leases.owner(run) == report.who.process

    def _may_search(self) -> bool:
        budget = self._spec.budget
        return (
            self._book.searched < budget.trials
            and (budget.time is None or self._hours.spent() < budget.time)
            and (budget.run_steps is None or self._steps_now() < budget.run_steps)
        )

    def _may_test(self) -> bool:
        """Whether the stress test has something to do: it waits for all that is open."""
        return not self._book.open and bool(self._trials.missing_tests())

    # Leases

    def _grants(self, report: Report) -> tuple[Grant, ...]:
        process, held = report.who.process, set(report.held)
        # An answer that was lost: what it granted is granted again.
        again = [run for run in self._leases.of(process) if run not in held]
        chosen = again + self._choose(report, self._portion(report) - len(again))
        rows = [self._book.runs[run] for run in chosen]
        for row in rows:
            self._leases.give(report, row.run.id, row.row_file)
        return tuple(Grant(r.run, r.row_file, r.run.id in self._suspects) for r in rows)

    def _portion(self, report: Report) -> int:
        """Runs to give at once. An adaptive search fills a pack by quarters: its rows then end at
        different times, and proposing their successors overlaps with the training of the others.
        Those of several programs do so anyway, as their packs are trained one after another.
        """
        if not self._is_adaptive or self._grouping.is_several:
            return report.room
        return min(report.room, max(1, math.ceil(report.capacity / 4)))

    def _choose(self, report: Report, room: int) -> list[int]:
        """Runs that nobody has, see Grouping; new trials are started as far as they may."""
        mine = self._leases.of(report.who.process)
        if room <= 0 or any(run in self._suspects for run in mine):
            return []
        is_empty = not mine and not report.held
        if is_empty or report.who.process in self._apart:
            group = self._suspects.group(self._leases.is_free, report.capacity)
            if group:
                self._apart.add(report.who.process)
                return group[:room] if is_empty else []
            self._apart.discard(report.who.process)
        chosen = self._unsuspected(report, room)
        missing = room - len(chosen)
        if missing > 0 and self._propose(missing):
            self._do(self._start)
            chosen = self._unsuspected(report, room)
        return chosen

    def _propose(self, runs: int) -> bool:
        with self._hours.deaf():  # a Gaussian process takes seconds, in which nobody is heard
            if self._may_search():
                return self._trials.propose(runs)
            return self._may_test() and self._trials.propose_tests()

    def _take_back(self, report: Report) -> tuple[int, ...]:
        """Take what a lane has cleared and saved away from it: other suspects wait for the lane.

        Else these would wait until it has trained the first ones to their end.
        """
        mine = self._leases.of(report.who.process)
        if report.who.process not in self._apart or any(run in self._suspects for run in mine):
            return ()
        if any(report.held.get(run) != self._book.runs[run].step for run in mine):
            return ()  # it saves them soon
        if not self._suspects.group(self._leases.is_free, report.capacity):
            return ()
        for run in mine:
            self._leases.give_back(run)
        return tuple(mine)

    def _unsuspected(self, report: Report, most: int) -> list[int]:
        free = (run for run in self._leases.free() if run not in self._suspects)
        return list(islice(self._grouping.ordered(free, report.held), most))

    def _start(self) -> None:
        self._leases.offer(self._trials.add_proposed())

    # Time and steps

    def _waits(self) -> dict[str, float]:
        """Seconds of all lanes together, those of them in which slots waited for a run, and those
        in which the study waited for others who write its database."""
        waited_s, lived_s = self._leases.lane_seconds()
        return {"waited_s": waited_s, "lane_s": lived_s, "locked_s": self._database.waited_s}

    def _steps_now(self) -> int:
        return self._book.steps + self._leases.steps_beyond()

    def _note_health(self) -> None:
        """Let others see from the database alone how the sweep fares."""
        if self._clock() - self._health_at < _HEALTH_EVERY_S:
            return
        self._health_at = self._clock()
        health = {
            "at": self._wall_clock(),
            "lanes": self._leases.lanes(),
            "told": self._book.told - self._book.tests_told,
            "run_steps": self._steps_now(),
            "repeated_steps": self._inquests.repeated,
            "waits": self._waits(),
            "elapsed_s": self._hours.spent(),
            "error": self._inquests.error,
        }
        with self._hours.deaf(), suppress(Unavailable):  # nothing depends on it
            self._database.put_meta(health=health)
