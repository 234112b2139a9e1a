"""The reports of an own loop, within its process: kept, told to the lane, and held back by it."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping

from sweeper.errors import SweepError
from sweeper.lane.journal import Entry, Journal
from sweeper.lane.loop_folder import LostError
from sweeper.lane.wire import Wire


class Stopped(BaseException):
    """The loop has been told to stop and reports all the same; not to be caught by its script."""


class Reports:
    """What one process reports of a run.

    The lane grants steps; at the last one that it has granted a report waits for more, so that the
    lane always knows how far the run is.

    Args:
        wire: to the lane.
        journal: of the run, open.
        known: steps that have been reported already, here or to the lane.
        longest: the most steps that one report covered so far; 0 when there was none.
    """

    def __init__(
        self, wire: Wire, journal: Journal, *, horizon: int, known: int, longest: int
    ) -> None:
        self._wire, self._journal, self._horizon = wire, journal, horizon
        self.known, self._longest = known, longest
        self._next = 0  # step of this process that may come next
        self._granted = 0
        self._is_stopped = False
        self._change = threading.Condition()
        self.has_raised = False

    @property
    def is_over(self) -> bool:
        """Whether the loop should stop."""
        return self._is_stopped or self._next >= self._horizon

    def grant(self, until: int) -> None:
        """Steps up to here may be reported (called from the thread that listens)."""
        with self._change:
            self._granted = max(self._granted, until)
            self._change.notify_all()

    def stop(self) -> None:
        """Let the loop stop."""
        with self._change:
            self._is_stopped = True
            self._change.notify_all()

    def add(
        self, step: int, loss: float, series: Mapping[str, float], metrics: Mapping[str, float]
    ) -> None:
        """Take a report. Steps that are known are those of a loop that repeats them: left out.

        Raises:
            Stopped: it should have stopped.
            SweepError: a step that can't follow.
            LostError: steps between what is known and this one are known nowhere.
        """
        if self.is_over:
            self.has_raised = True
            raise Stopped
        self._check(step)
        is_new = step >= self.known
        if is_new:
            self._check_joins(step)
            entry = Entry(self.known, step + 1, loss, series, metrics)
            self._journal.add(entry)
            self._wire.send("steps", *entry.to_list())
            self.known = step + 1
        self._next = step + 1
        if not math.isfinite(loss):
            self.stop()
        if is_new:
            self._wait()

    def check_end(self) -> None:
        """The loop has returned, having gone on from an earlier process.

        Raises:
            LostError: without a report, and before the horizon: its checkpoint is ahead of all
                that is known.
        """
        if self._next == 0 and self.known < self._horizon and not self.is_over:
            raise LostError

    def _check(self, step: int) -> None:
        if step < self._next:
            raise SweepError(
                f"step {step} was reported after step {self._next - 1}",
                where="trial.report",
                allowed="steps that go up, counted from 0",
            )
        if step >= self._horizon:
            raise SweepError(
                f"step {step} was reported of a run of {self._horizon} steps",
                where="trial.report",
                allowed=f"0 to {self._horizon - 1}: trial.horizon steps, counted from 0",
            )

    def _check_joins(self, step: int) -> None:
        """A loop that goes on from its checkpoint must not leave steps out.

        It may report seldom: then its first report is as far from the last known one as its
        reports were from each other.
        """
        is_first = self.known > 0 and self._next == 0
        if is_first and self._longest and step + 1 - self.known > self._longest:
            raise LostError

    def _wait(self) -> None:
        with self._change:
            self._change.wait_for(lambda: self.is_over or self._granted > self.known)
