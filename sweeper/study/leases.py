"""Leases: which lane process may train which run. In memory only."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.lane.protocol import Identity, Report


@dataclass(slots=True)
class _Holder:
    report: Report
    heard: float
    beyond: int = 0

    @property
    def deadline(self) -> float:
        return self.heard + self.report.quiet_s


@dataclass(frozen=True, slots=True)
class Death:
    """A lane process that is taken for dead.

    Args:
        who: the process.
        runs: what it had leased.
        held: step by run, as last heard.
        stride: steps that it may have made since.
        silent: nobody took its place: it may hang.
    """

    who: Identity
    runs: tuple[int, ...]
    held: Mapping[int, int]
    stride: int
    silent: bool


class Leases:
    """Who has what, and which runs nobody has.

    Args:
        clock: seconds, monotonic.
        open_runs: runs that are to be trained.
        hold_until: until then these are only given to a lane that says it holds them.
    """

    def __init__(
        self, clock: Callable[[], float], open_runs: Iterable[int], *, hold_until: float
    ) -> None:
        self._clock, self._hold_until = clock, hold_until
        self._held_back = set(open_runs)
        self._free: list[int] = []  # sorted
        self._owner: dict[int, str] = {}
        self._owned: dict[str, set[int]] = {}
        # Process, number of its report and row file, by run: the last time that it was given out.
        self._given: dict[int, tuple[str, int, str | None]] = {}
        self._holders: dict[str, _Holder] = {}
        self._gone: set[str] = set()
        self._numbers: dict[str, int] = {}  # of the newest report, also of who is silent
        self._newest: dict[int, str] = {}  # process by lane: the last one to be heard first
        self._no_death_before = float("inf")  # nobody's deadline is earlier
        self._seconds: dict[str, tuple[float, float]] = {}  # lived and waited, by process

    # Lane processes

    def is_gone(self, process: str) -> bool:
        """Whether a process has left, failed or been replaced: it has no say any more."""
        return process in self._gone

    def is_dead(self, process: str) -> bool:
        """Whether a process is gone, or was silent for too long and hasn't come back."""
        is_silent = process in self._numbers and process not in self._holders
        return is_silent or self.is_gone(process)

    def is_stale(self, report: Report) -> bool:
        """Whether a later report of the same process has been heard."""
        return report.number < self._numbers.get(report.who.process, 0)

    def heard(self, report: Report) -> list[Death]:
        """Note a sign of life; returns who is taken for dead by it, their leases ended.

        A new process of a lane takes the place of the one before, which has no say any more.
        """
        who = report.who
        before = self._newest.get(who.lane, who.process)
        replaced = self.remove(before) if before != who.process else None
        self._newest[who.lane] = who.process
        self._numbers[who.process] = report.number
        seconds = (report.lived_s, report.waited_s)  # a last report says 0
        self._seconds[who.process] = max(seconds, self._seconds.get(who.process, seconds))
        beyond = self._holders[who.process].beyond if who.process in self._holders else 0
        holder = self._holders[who.process] = _Holder(report, self._clock(), beyond)
        self._no_death_before = min(self._no_death_before, holder.deadline)
        return ([] if replaced is None else [replaced]) + self._silent()

    def remove(self, process: str) -> Death | None:
        """End a process for good, its leases too; None when it had none left."""
        self._gone.add(process)
        return self._bury(process, silent=False) if process in self._holders else None

    def note_beyond(self, process: str, steps: int) -> None:
        """Note how many steps a process has made beyond what is saved."""
        self._holders[process].beyond = steps

    def steps_beyond(self) -> int:
        """Steps that lanes have made beyond what is saved, as last heard."""
        return sum(holder.beyond for holder in self._holders.values())

    def lane_seconds(self) -> tuple[float, float]:
        """Seconds in which slots waited for runs, and all seconds, summed over all processes."""
        every = self._seconds.values()
        return round(sum(one[1] for one in every), 3), round(sum(one[0] for one in every), 3)

    def lanes(self) -> list[dict[str, Any]]:
        """Every living lane in plain values: where it is, runs leased, capacity, run-steps/s."""
        holders = sorted(self._holders.values(), key=lambda holder: holder.report.who.lane)
        return [
            {
                "lane": holder.report.who.lane,
                "host": holder.report.who.host,
                "node": holder.report.who.node,
                "held": len(self._owned.get(holder.report.who.process, ())),
                "capacity": holder.report.capacity,
                "rate": holder.report.rate,
                "waited_s": round(holder.report.waited_s, 1),
                "silent_s": round(self._clock() - holder.heard, 1),
                "trouble": holder.report.trouble,
            }
            for holder in holders
        ]

    # Runs

    def offer(self, runs: Iterable[int]) -> None:
        """From now on these are to be trained."""
        for run in runs:
            insort(self._free, run)

    def acquire(self, run: int, process: str) -> bool:
        """Take the lease of a run, unless another process has it."""
        owner = self._owner.setdefault(run, process)
        if owner != process:
            return False
        if run not in self._owned.setdefault(process, set()):
            self._owned[process].add(run)
            self._withdraw(run)
        return True

    def give(self, report: Report, run: int, row_file: str | None) -> None:
        """Lease a run to who reports, in the answer to this report."""
        self.acquire(run, report.who.process)
        self._given[run] = report.who.process, report.number, row_file

    def was_given(self, report: Report, run: int, row_file: str | None) -> bool:
        """Whether who reports has a run, and was given this row file of it before this report."""
        process, number, given = self._given.get(run, ("", 0, None))
        is_owner = self.owner(run) == process == report.who.process
        return is_owner and given == row_file and number < report.number

    def release(self, run: int) -> None:
        """From now on nobody is to train this run."""
        owner = self._owner.pop(run, None)
        if owner is None:
            self._withdraw(run)
        else:
            self._owned[owner].discard(run)

    def give_back(self, run: int) -> None:
        """End the lease of a run that is to be trained on."""
        self._owned[self._owner.pop(run)].discard(run)
        self.offer([run])

    def free(self) -> list[int]:
        """Runs that may be given to any lane, by id."""
        if self._held_back and self._clock() >= self._hold_until:
            self._free = sorted([*self._free, *self._held_back])
            self._held_back = set()
        return self._free

    def is_free(self, run: int) -> bool:
        """Whether a run may be given to any lane."""
        free = self.free()
        place = bisect_left(free, run)
        return place < len(free) and free[place] == run

    def of(self, process: str) -> list[int]:
        """Runs of a process, by id."""
        return sorted(self._owned.get(process, ()))

    def owner(self, run: int) -> str | None:
        """The process that may train a run."""
        return self._owner.get(run)

    def _withdraw(self, run: int) -> None:
        self._held_back.discard(run)
        if self.is_free(run):
            del self._free[bisect_left(self._free, run)]

    # Deaths

    def _silent(self) -> list[Death]:
        """Bury who has been silent for too long."""
        now = self._clock()
        if now <= self._no_death_before:
            return []
        late = [name for name, holder in self._holders.items() if now > holder.deadline]
        deaths = [self._bury(process, silent=True) for process in late]
        deadlines = [holder.deadline for holder in self._holders.values()]
        self._no_death_before = min(deadlines, default=float("inf"))
        return deaths

    def _bury(self, process: str, *, silent: bool) -> Death:
        report = self._holders.pop(process).report
        runs = tuple(sorted(self._owned.pop(process, ())))
        for run in runs:
            del self._owner[run]
        self.offer(runs)
        return Death(report.who, runs, report.held, report.stride, silent)
