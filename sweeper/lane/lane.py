"""The lane loop: train a chunk, drain it, and exchange with the study while the next one runs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from sweeper.lane import rows, trajectories
from sweeper.lane.pack import Machine, Pack
from sweeper.lane.protocol import Answer, Grant, Identity, Report, StudyPort
from sweeper.lane.record import Record
from sweeper.lane.storage import Storage
from sweeper.optim.configuration import parse
from sweeper.optim.rules import RULES
from sweeper.stability.limits import Limits
from sweeper.tasks.registry import TaskName
from sweeper.tasks.task import Task

_IDLE_S = 0.05
_HEARTBEAT_S = 1.0


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """What every lane of a sweep is told.

    Args:
        task: what is trained.
        capacity: slots.
        machine: device, dtype, compiled or not.
        limits: by which runs are judged.
        horizon: of the runs; chunks divide it evenly.
        chunk_s: seconds that a chunk should take.
        save_s: seconds between row files.
    """

    task: TaskName
    capacity: int
    machine: Machine
    limits: Limits
    horizon: int
    chunk_s: float = 0.25
    save_s: float = 30.0


@dataclass(slots=True)
class _Parcel:
    """What one exchange carries: trajectories and rows still to be written, results."""

    done: dict[int, dict[str, Any]] = field(default_factory=dict)
    pieces: list[tuple[int, int, np.ndarray]] = field(default_factory=list)
    saves: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    saved: dict[int, int] = field(default_factory=dict)


class Lane:
    """Keeps its packs full until the study says that the sweep is over."""

    def __init__(
        self, who: Identity, settings: LaneSettings, study: StudyPort, storage: Storage
    ) -> None:
        storage.prove_writable()
        self.who, self.settings, self.study, self.storage = who, settings, study, storage
        self.task: Task = settings.task.build()
        self.packs: dict[str, Pack] = {}
        self.records: dict[int, Record] = {}  # every run that the lane answers for
        self.waiting: deque[Grant] = deque()
        self.outbox = _Parcel()
        self.rate = 0.0
        self._chunks: dict[str, int] = {}
        self._files = 0
        self._last_save = self._last_sent = time.monotonic()

    @property
    def active(self) -> int:
        """Runs in slots."""
        return sum(pack.capacity - pack.free for pack in self.packs.values())

    def run(self, on_chunk: Callable[[], None] = lambda: None) -> None:
        """Train until the study ends the sweep. `on_chunk` is called after every chunk."""
        with ThreadPoolExecutor(1, thread_name_prefix="exchange") as pool:
            exchange: Future[Answer] | None = pool.submit(self._send, _Parcel(), {}, self._room())
            while True:
                if exchange is not None and (exchange.done() or not self.active):
                    answer = exchange.result()
                    exchange = None
                    if answer.end:
                        self.save_all()
                        return
                    self._apply(answer)
                self._fill()
                if self.active:
                    self._train_chunk()
                    on_chunk()
                if exchange is None and self._is_due():
                    self._prepare_save()
                    parcel, self.outbox = self.outbox, _Parcel()
                    if not self.active and not parcel.done:
                        time.sleep(_IDLE_S)
                    exchange = pool.submit(self._send, parcel, self._held(), self._room())

    def save_all(self) -> None:
        """Write row files of every run and report them: the last thing before leaving."""
        if not self.records and not self.outbox.done:
            return
        self._last_save = float("-inf")
        self._prepare_save()
        self._send(self.outbox, self._held(), 0)
        self.outbox = _Parcel()

    def _held(self) -> dict[int, int]:
        """Step by run of everything that the lane has and has not reported as done."""
        waiting = {grant.run.id: 0 for grant in self.waiting}
        return waiting | {run: record.step for run, record in self.records.items()}

    def _apply(self, answer: Answer) -> None:
        for run in answer.drop:
            self._drop(run)
        for path in answer.obsolete:
            self.storage.remove(path)
        known = {grant.run.id for grant in self.waiting} | set(self.records)
        self.waiting.extend(grant for grant in answer.grant if grant.run.id not in known)

    def _fill(self) -> None:
        """Put waiting runs into free slots."""
        while self.waiting and self.active < self.settings.capacity:
            self._place(self.waiting.popleft())

    def _place(self, grant: Grant) -> None:
        rule = RULES[parse(grant.run.config).rule]
        settings = self.settings
        pack = self.packs.get(rule.name)
        if pack is None:
            pack = Pack(self.task, rule, settings.capacity, settings.machine)
            self.packs[rule.name] = pack
        record = Record(grant.run, self.task, settings.limits, settings.machine.eps)
        row = None
        if grant.row_file is not None:
            row = rows.read_row(self.storage, grant.row_file, grant.run.id)
            record.restore(row)
        self.records[grant.run.id] = record
        slot = pack.place(grant.run, row)
        assert pack.step_of(slot) == record.step, "a row and its record are of different steps"

    def _drop(self, run: int) -> None:
        self.records.pop(run, None)
        self.waiting = deque(grant for grant in self.waiting if grant.run.id != run)
        self.outbox.done.pop(run, None)
        self.outbox.pieces = [piece for piece in self.outbox.pieces if piece[0] != run]
        for pack in self.packs.values():
            slot = pack.runs().get(run)
            if slot is not None:
                pack.remove(slot)

    def _train_chunk(self) -> None:
        steps_made, started = 0, time.perf_counter()
        for name, pack in self.packs.items():
            if pack.free < pack.capacity:
                steps_made += self._train_pack(name, pack)
        self.rate = steps_made / max(time.perf_counter() - started, 1e-9)

    def _train_pack(self, name: str, pack: Pack) -> int:
        before = {run: pack.step_of(slot) for run, slot in pack.runs().items()}
        left = max(self.records[run].run.horizon - step for run, step in before.items())
        steps = min(self._chunk(name), left)
        started = time.perf_counter()
        series = pack.train(steps)
        self._tune_chunk(name, (time.perf_counter() - started) / steps)
        for run, slot in pack.runs().items():
            record = self.records[run]
            record.take(series[:, :, slot])
            if record.ended:
                self._finish(record, pack, slot)
        return sum(min(steps, self.settings.horizon - step) for step in before.values())

    def _chunk(self, name: str) -> int:
        # The first chunk compiles and tells how long a step takes; it is kept short.
        return self._chunks.get(name, min(10, self.settings.horizon))

    def _tune_chunk(self, name: str, step_s: float) -> None:
        """Let a chunk take about `chunk_s`, and the horizon be whole chunks: rows end on one."""
        horizon = self.settings.horizon
        wanted = min(max(1, round(self.settings.chunk_s / step_s)), horizon)
        if name not in self._chunks and step_s * 10 > self.settings.chunk_s:
            wanted = min(50, horizon)  # that was the compilation
        self._chunks[name] = -(-horizon // -(-horizon // wanted))

    def _finish(self, record: Record, pack: Pack, slot: int) -> None:
        run = record.run.id
        result = record.result()
        result["evaluation"] = pack.evaluate(slot) if result["finite"] else {}
        self.outbox.done[run] = result
        self.outbox.pieces.append((run, *record.take_pending()))
        pack.remove(slot)
        del self.records[run]

    def _prepare_save(self) -> None:
        if time.monotonic() - self._last_save < self.settings.save_s:
            return
        self._last_save = time.monotonic()
        for pack in self.packs.values():
            for run, slot in pack.runs().items():
                record = self.records[run]
                self.outbox.saves[run] = {**pack.row(slot), **record.save()}
                self.outbox.saved[run] = record.step
                self.outbox.pieces.append((run, *record.take_pending()))

    def _is_due(self) -> bool:
        if self.outbox.done or self._room() > 0:
            return True
        now = time.monotonic()
        return now - self._last_sent > _HEARTBEAT_S or now - self._last_save > self.settings.save_s

    def _room(self) -> int:
        """Free slots, and those whose run ends within the next chunk."""
        ending = sum(
            self.records[run].run.horizon - self.records[run].step <= self._chunk(name)
            for name, pack in self.packs.items()
            for run in pack.runs()
        )
        return self.settings.capacity - self.active - len(self.waiting) + ending

    def _send(self, parcel: _Parcel, held: dict[int, int], room: int) -> Answer:
        """Write the parcel's files, then report them. Runs in the exchange thread."""
        self._last_sent = time.monotonic()
        self._files += 1
        name = f"{self.who.process}-{self._files:06d}"
        part = trajectories.write_part(self.storage, name, parcel.pieces)
        row_file = rows.write_rows(self.storage, name, parcel.saves) if parcel.saves else None
        report = Report(
            who=self.who,
            held=held,
            room=max(0, room),
            done=parcel.done,
            saved=parcel.saved,
            row_file=row_file,
            part=part,
            rate=self.rate,
            capacity=self.settings.capacity,
        )
        return self.study.sync(report)
