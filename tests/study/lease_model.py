"""What the leases of a study must be, told from outside: by its calls and its answers."""

from __future__ import annotations

from sweeper.lane.protocol import Answer, Report


class Violation(AssertionError):
    """A promise that was broken."""


def promise(holds: bool, *what: object) -> None:
    if not holds:
        raise Violation(" ".join(map(str, what)))


class LeaseModel:
    """The leases of one study, from its start to its end."""

    def __init__(self) -> None:
        self.owner: dict[int, str] = {}
        self.gone: set[str] = set()
        self.silent: set[str] = set()  # everybody who ever was silent for too long
        self._owned: dict[str, set[int]] = {}
        self._numbers: dict[str, int] = {}
        self._newest: dict[int, str] = {}
        self._deadlines: dict[str, float] = {}
        self._first_deadline = float("inf")

    def heard(self, report: Report, now: float) -> bool:
        """A report arrives; False when it has no say: its process is gone, or it is stale."""
        who = report.who
        if who.process in self.gone or report.number < self._numbers.get(who.process, 0):
            return False
        before = self._newest.get(who.lane, who.process)
        if before != who.process:
            self.remove(before)
        self._newest[who.lane] = who.process
        self._numbers[who.process] = report.number
        self._deadlines[who.process] = now + report.quiet_s
        self._first_deadline = min(self._first_deadline, now + report.quiet_s)
        if now > self._first_deadline:
            self._bury_silent(now)
        return True

    def answered(self, report: Report, answer: Answer) -> None:
        """A report that had a say was answered."""
        process = report.who.process
        promise(not answer.gone, process, "is called gone and isn't")
        for run in (*answer.drop, *report.done):  # of these only those that were refused
            self._give_back(run, process)
        for run in report.held.keys() - set(answer.drop):
            self._take(run, process)
        for grant in answer.grant:
            self._take(grant.run.id, process)
        if report.leaving:
            self.remove(process)

    def remove(self, process: str) -> None:
        """A process has left, failed or was replaced."""
        self.gone.add(process)
        self._bury(process)

    def end(self, run: int) -> None:
        """A run has ended."""
        owner = self.owner.pop(run, None)
        if owner is not None:
            self._owned[owner].discard(run)

    def of(self, process: str) -> set[int]:
        return self._owned.get(process, set())

    def _take(self, run: int, process: str) -> None:
        owner = self.owner.setdefault(run, process)
        promise(owner == process, f"run {run} is leased to {process} and to {owner}")
        self._owned.setdefault(process, set()).add(run)

    def _give_back(self, run: int, process: str) -> None:
        if self.owner.get(run) == process:
            self.end(run)

    def _bury_silent(self, now: float) -> None:
        late = [process for process, deadline in self._deadlines.items() if now > deadline]
        for process in late:
            self.silent.add(process)
            self._bury(process)
        self._first_deadline = min(self._deadlines.values(), default=float("inf"))

    def _bury(self, process: str) -> None:
        self._deadlines.pop(process, None)
        for run in self._owned.pop(process, set()):
            del self.owner[run]
