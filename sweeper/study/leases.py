"""Leases: which lane process may train which run. In memory only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.lane.protocol import Report

# A lane that is silent this long loses its runs: generous, since compiling takes seconds.
_SILENCE_S = 120.0


@dataclass(slots=True)
class _Holder:
    lane: int
    host: str
    heard: float
    rate: float = 0.0
    capacity: int = 0
    held: Mapping[int, int] = field(default_factory=dict)


class Leases:
    """Who has what.

    Args:
        clock: seconds, monotonic.
        hold_until: until then a run without a lease is only given to a lane that says it holds it.
    """

    def __init__(self, clock: Callable[[], float], *, hold_until: float) -> None:
        self._clock, self._hold_until = clock, hold_until
        self._owner: dict[int, str] = {}
        self._holders: dict[str, _Holder] = {}

    def heard(self, report: Report) -> None:
        """Note a sign of life; processes that it replaces, or that are silent, lose their runs."""
        who, now = report.who, self._clock()
        self._holders[who.process] = _Holder(
            who.lane, who.host, now, report.rate, report.capacity, report.held
        )
        for process, holder in list(self._holders.items()):
            is_replaced = holder.lane == who.lane and process != who.process
            if is_replaced or now - holder.heard > _SILENCE_S:
                self._forget(process)

    def acquire(self, run: int, process: str) -> bool:
        """Take the lease of a run, unless another process has it."""
        return self._owner.setdefault(run, process) == process

    def release(self, run: int) -> None:
        self._owner.pop(run, None)

    def is_free(self, run: int) -> bool:
        """Whether a run may be given to any lane."""
        return run not in self._owner and self._clock() >= self._hold_until

    def of(self, process: str) -> list[int]:
        """Runs of a process, by id."""
        return sorted(run for run, owner in self._owner.items() if owner == process)

    def all(self) -> list[int]:
        return list(self._owner)

    def steps_beyond(self, saved: Mapping[int, int]) -> int:
        """Steps that lanes have made beyond what is saved, as last heard."""
        held = {r: s for holder in self._holders.values() for r, s in holder.held.items()}
        return sum(max(0, held.get(run, 0) - step) for run, step in saved.items())

    def lanes(self) -> list[dict[str, Any]]:
        """Every living lane in plain values: index, host, runs held, capacity, run-steps/s."""
        return [
            {
                "lane": holder.lane,
                "host": holder.host,
                "held": len(holder.held),
                "capacity": holder.capacity,
                "rate": holder.rate,
                "silent_s": self._clock() - holder.heard,
            }
            for holder in sorted(self._holders.values(), key=lambda holder: holder.lane)
        ]

    def _forget(self, process: str) -> None:
        del self._holders[process]
        for run in self.of(process):
            del self._owner[run]
