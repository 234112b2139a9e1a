"""The lane loop: train a chunk, drain it, and exchange with the study while the next one runs."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from sweeper.lane.away import Away
from sweeper.lane.due_probes import DueProbes
from sweeper.lane.exchange import Exchange, Parcel
from sweeper.lane.idleness import Idleness
from sweeper.lane.loop_pack import LoopPack, LostRunError
from sweeper.lane.memory import PackTooLargeError, lack_of_memory_told
from sweeper.lane.pace import Pace
from sweeper.lane.pack import SAMPLE_EVERY, Pack
from sweeper.lane.packs import Packs
from sweeper.lane.protocol import Answer, Grant, Identity, Report, StudyPort
from sweeper.lane.record import Record
from sweeper.lane.remover import Remover
from sweeper.lane.rows import RowReader, UnreadableError
from sweeper.lane.rungs import passed, rung_steps
from sweeper.lane.settings import LaneSettings
from sweeper.lane.storage import AwayError, Storage
from sweeper.lane.timed_pack import UNTUNED_STEPS, TimedPack
from sweeper.optim.configuration import parse

_IDLE_S = 0.05
_HEARTBEAT_S = 1.0
# The first chunk of a pack compiles: then a lane may be silent for longer.
COMPILING_S = 300.0
# Chunks that may have been trained since the last report, generously.
_STRIDE_CHUNKS = 4
# Chunks before the end of a run in which its successor may be asked for.
_MOST_AHEAD = 4
_REMEMBERS = 0.9


class GivenUpError(Exception):
    """The study has replaced this lane process: it must end."""


class Lane:
    """Keeps its packs full until the study says that the sweep is over."""

    def __init__(
        self, who: Identity, settings: LaneSettings, study: StudyPort, storage: Storage
    ) -> None:
        storage.prove_writable()
        self.who, self.settings, self.study, self.storage = who, settings, study, storage
        self.packs = Packs(settings, storage)
        self.records: dict[int, Record] = {}  # every run that the lane answers for
        self.waiting: deque[Grant] = deque()
        self.outbox = Parcel()
        self.rate = 0.0
        self._pace = Pace()  # of run-steps, of all packs together
        self._probes = DueProbes(settings.capacity, settings.machine)
        self._reader = RowReader(storage)
        self._away = Away(storage, settings.patience_s)
        self._remover = Remover(storage)
        self._exchange = Exchange(study, storage, who.process, settings.patience_s)
        self._idleness = Idleness()
        self._answer_s = 0.0  # that an exchange takes
        self._is_leaving = False
        self._is_dry = False  # the search has nothing more to give
        self._is_careful = False  # trains suspects, which are saved after every chunk
        self._last_save = self._last_sent = time.monotonic()

    @property
    def active(self) -> int:
        """Runs in slots."""
        return self.packs.active

    def run(self, on_chunk: Callable[[], None] = lambda: None) -> None:
        """Train until the study ends the sweep. `on_chunk` is called after every chunk.

        Raises:
            GivenUpError: the study has replaced this process.
            PackTooLargeError: memory doesn't suffice; the study gets its runs back.
            SweepError: a loop of the user's own failed.
        """
        try:
            self._train_until_end(on_chunk)
        except PackTooLargeError:
            self._depart()  # what has ended counts
            self.packs.clear()  # whoever still has this lane must not keep its memory
            raise
        finally:
            self.packs.end_loops()
            self._remover.end()
        self.save_all()

    def _train_until_end(self, on_chunk: Callable[[], None]) -> None:
        exchange: Future[Answer] | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="exchange") as pool:
            while not self._is_leaving:
                if exchange is not None and (exchange.done() or self._must_wait()):
                    answer, exchange = exchange.result(), None
                    if not self._apply(answer):
                        return
                self._fill()
                self._idleness.note(self._empty())
                if exchange is None and self._is_due():
                    exchange = pool.submit(self._send, *self._prepare())
                if not self.active:
                    time.sleep(_IDLE_S)
                elif (coming := self._coming()) is not None and not coming.is_news:
                    self._train_chunk(coming)
                    on_chunk()
        if exchange is not None:
            self._apply(exchange.result())

    def leave(self) -> None:
        """Let `run` save, report and return after the present chunk."""
        self._is_leaving = True

    def save_all(self) -> None:
        """Write row files of every run and give them up: the last thing before leaving."""
        self._last_save = float("-inf")
        self._prepare_save()
        self._depart()

    def _send(self, parcel: Parcel, report: Report) -> Answer:
        """Exchange with the study, noting how long that takes: slow ones are remembered longer."""
        began = time.monotonic()
        answer = self._exchange.send(parcel, report)
        self._answer_s = max(time.monotonic() - began, _REMEMBERS * self._answer_s)
        return answer

    def _depart(self) -> None:
        parcel, self.outbox = self.outbox, Parcel()
        self._exchange.send(parcel, Report(who=self.who, leaving=True))

    def _held(self) -> dict[int, int]:
        """Step by run of everything that the lane has and has not reported as done."""
        waiting = {grant.run.id: 0 for grant in self.waiting}
        return waiting | {run: record.step for run, record in self.records.items()}

    def _rungs(self) -> dict[int, tuple[tuple[int, float], ...]]:
        """The rungs that runs have passed, by run; nothing where nobody asks for that."""
        if not self.settings.report_rungs:
            return {}
        records = self.records.items()
        found = {run: passed(r.curve, rung_steps(r.run.horizon)) for run, r in records}
        return {run: rungs for run, rungs in found.items() if rungs}

    def _apply(self, answer: Answer) -> bool:
        """Do what the study answers; False when the sweep is over."""
        if answer.gone:
            raise GivenUpError
        for run in answer.drop:
            self._drop(run)
        self._remover.remove(answer.obsolete)
        self._is_dry = answer.is_dry
        if answer.grant:
            self._is_careful = any(grant.is_suspect for grant in answer.grant)
        known = {grant.run.id for grant in self.waiting} | set(self.records)
        self.waiting.extend(grant for grant in answer.grant if grant.run.id not in known)
        return not answer.end

    def _fill(self) -> None:
        """Put waiting runs into free slots; those whose pack is full, or whose row can't be had
        at present, wait on."""
        waiting, self.waiting = self.waiting, deque()
        for grant in waiting:
            can_go = self.packs.has_room(self.packs.program(grant.run))
            can_go = can_go and (grant.row_file is None or self._away.is_due)
            if not (can_go and self._place(grant)):
                self.waiting.append(grant)
        self._reader.forget()

    def _place(self, grant: Grant) -> bool:
        """Put a run into a free slot; False where its rows can't be had now."""
        try:
            row = self._read_row(grant)
        except AwayError as error:
            self._away.note(error)
            return False
        settings = self.settings
        record = Record(
            grant.run,
            self.packs.task(grant.run),
            settings.limits,
            settings.machine.eps,
            settings.looks(parse(grant.run.config)),
        )
        if row is None and grant.row_file is not None:
            self.outbox.lost.append(grant.run.id)  # the study grants it again, from its start
            return True
        if row is not None:
            record.restore(row)
        step = self.packs.place(grant.run, row)
        self.records[grant.run.id] = record
        assert step == record.step, "a row and its record are of different steps"
        return True

    def _read_row(self, grant: Grant) -> dict[str, Tensor] | None:
        """The saved row of a run; None when there is none, or none that can be read.

        Raises:
            AwayError: that can't be told at present.
        """
        if grant.row_file is None:
            return None
        try:
            row = self._reader.row(grant.row_file, grant.run.id)
        except UnreadableError:
            row = None
        self._away.clear()
        return row

    def _drop(self, run: int) -> None:
        record = self.records.pop(run, None)
        if record is not None:
            self._probes.forget(record)
        self.waiting = deque(grant for grant in self.waiting if grant.run.id != run)
        self.outbox.done.pop(run, None)
        self.outbox.pieces = [piece for piece in self.outbox.pieces if piece[0] != run]
        holder = self.packs.holder(run)
        if holder is not None:
            holder.remove(run)

    def _coming(self) -> TimedPack | None:
        """The pack to be trained now: of suspects each in turn, to see who gets ahead."""
        return self.packs.next(in_turn=self._is_careful)

    def _train_chunk(self, one: TimedPack) -> None:
        """Train a pack until its chunk is over, or until a run ends or is due for a probe."""
        pack, began = one.pack, time.perf_counter()
        before = {run: pack.step_of(slot) for run, slot in pack.runs().items()}
        left = max(one.ends[run] - step for run, step in before.items())
        try:
            with lack_of_memory_told():
                series = pack.train(min(one.chunk, left, self._until_event(pack)))
        except LostRunError as error:
            self._drop(error.run)
            self.outbox.lost.append(error.run)  # the study grants it again, from its start
            return
        steps = len(series)
        one.tune(steps, time.perf_counter() - began)
        self.packs.note_turn(one, steps)
        made = sum(min(steps, one.ends[run] - step) for run, step in before.items())
        for run, slot in pack.runs().items():
            record = self.records[run]
            record.take(series[:, :, slot])
            if record.ended:
                self._finish(record, one, slot)
        self._probes.take(pack, self.records)
        step_s = self._pace.add(made, time.perf_counter() - began)
        if step_s is not None:
            self.rate = 1 / step_s

    def _until_event(self, pack: Pack | LoopPack) -> int:
        """Steps until the first run is due for a probe or ends, in whole tens: all rows are at
        the same place between two samples."""
        steps = []
        for run in pack.runs():
            record = self.records[run]
            due = record.probes.next_step(record.step) if record.probes is not None else None
            steps.append((due or record.run.horizon) - record.step)
        return SAMPLE_EVERY * -(-min(steps) // SAMPLE_EVERY)

    def _finish(self, record: Record, one: TimedPack, slot: int) -> None:
        run = record.run.id
        self._probes.measure(record)
        result = record.result()
        result["evaluation"] = one.pack.evaluate(slot) if result["finite"] else {}
        self.outbox.done[run] = result
        self.outbox.pieces.append(record.take_pending())
        one.remove(run)
        del self.records[run]

    def _prepare_save(self) -> None:
        if not self._is_save_due():
            return
        self._last_save = time.monotonic()
        self._probes.measure()
        for one in self.packs:
            for run, slot in one.pack.runs().items():
                record = self.records[run]
                if record.step == record.written:  # what is on disk is its state
                    continue
                self.outbox.saves[run] = {**one.pack.row(slot), **record.save()}
                self.outbox.saved[run] = record.step
                self.outbox.pieces.append(record.take_pending())

    def _is_new_pack(self) -> bool:
        """Whether a pack is to be compiled of which the study has not heard yet."""
        coming = self._coming()
        return coming is not None and coming.is_news

    def _must_wait(self) -> bool:
        """Whether there is nothing to do before the answer."""
        return not self.active or self._is_new_pack()

    def _is_due(self) -> bool:
        if self.outbox.done or self.outbox.lost or self._room() > 0 or self._is_new_pack():
            return True
        return self._is_save_due() or time.monotonic() - self._last_sent > _HEARTBEAT_S

    def _is_save_due(self) -> bool:
        return self._is_careful or time.monotonic() - self._last_save > self.settings.save_s

    def _prepare(self) -> tuple[Parcel, Report]:
        """What is to be sent now."""
        self._prepare_save()
        parcel, self.outbox = self.outbox, Parcel()
        coming = self._coming()
        is_compiling = coming is not None and not coming.is_compiled
        if coming is not None:
            coming.is_announced = True
        self._last_sent = time.monotonic()
        return parcel, Report(
            who=self.who,
            held=self._held(),
            room=max(0, self._room()),
            rungs=self._rungs(),
            rate=self.rate,
            capacity=self.settings.capacity,
            quiet_s=COMPILING_S if is_compiling else self._quiet_s(),
            trouble=self._away.trouble,
            stride=_STRIDE_CHUNKS * max([UNTUNED_STEPS, *(one.chunk for one in self.packs)]),
            waited_s=self._idleness.waited_s,
            lived_s=self._idleness.lived_s,
        )

    def _quiet_s(self) -> float:
        """Seconds without a report that mean nothing: slow steps make long chunks."""
        chunk_s = sum(one.chunk * one.step_s for one in self.packs)
        return max(self.settings.silence_s, 3 * (chunk_s + self._probes.longest_s))

    def _empty(self) -> float:
        """The share of the slots that wait for the study."""
        return 0.0 if self._is_dry or self.waiting else self.packs.empty

    def _room(self) -> int:
        """Runs that the lane can take, see Packs.room; the slower the study, the earlier asked."""
        waiting = (self.packs.program(grant.run) for grant in self.waiting)
        # The report before this one may still be on its way.
        chunks = math.ceil(2 * self._answer_s / self.settings.chunk_s)
        return self.packs.room(waiting, min(max(1, chunks), _MOST_AHEAD))
