"""The probes of a lane: its runs are copied when they are due, and measured in batches."""

from __future__ import annotations

import time
from collections.abc import Mapping

from sweeper.lane.loop_pack import LoopPack
from sweeper.lane.memory import lack_of_memory_told
from sweeper.lane.pack import Machine, Pack
from sweeper.lane.probing import Probing
from sweeper.lane.record import Record
from sweeper.optim.variant import Variant


class DueProbes:
    """Probes of all packs of a lane: a Probing for each variant of the task, once one is due.

    Args:
        capacity: slots of a pack.
        machine: of the packs.

    Attributes:
        longest_s: seconds that taking probes took, at most.
    """

    def __init__(self, capacity: int, machine: Machine) -> None:
        self._capacity, self._machine = capacity, machine
        self._probings: dict[Variant, Probing] = {}
        self.longest_s = 0.0

    def take(self, pack: Pack | LoopPack, records: Mapping[int, Record]) -> None:
        """Copy the runs that are due, and measure them when a batch is full.

        Of a run that has failed there is nothing left to forecast.
        """
        due = {
            slot: record.probes
            for run, slot in pack.runs().items()
            if (record := records[run]).probes is not None
            and record.step in record.probes.steps
            and not record.verdict.failed
        }
        if not due or isinstance(pack, LoopPack):
            return
        started = time.perf_counter()
        variant = pack.program.variant
        with lack_of_memory_told():
            if variant not in self._probings:
                self._probings[variant] = Probing(pack.task, self._capacity, self._machine)
            self._probings[variant].take(pack, list(due), list(due.values()))
        self.longest_s = max(self.longest_s, time.perf_counter() - started)

    def measure(self, record: Record | None = None) -> None:
        """Measure what waits, of one run or of all, before anybody reads it."""
        if record is not None and record.probes is None:
            return
        with lack_of_memory_told():
            for probing in self._probings.values():
                probing.flush(record.probes if record is not None else None)

    def forget(self, record: Record) -> None:
        """Leave out what waits of a run."""
        if record.probes is not None:
            for probing in self._probings.values():
                probing.forget(record.probes)
