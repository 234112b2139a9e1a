"""The lane loop: train a chunk, drain it, and exchange with the study while the next one runs."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from torch import Tensor

from sweeper.lane import loop_folder, rows
from sweeper.lane.exchange import Exchange, Parcel
from sweeper.lane.loop_pack import OWN_LOOP, LoopPack, LostRunError
from sweeper.lane.memory import PackTooLargeError, lack_of_memory_told
from sweeper.lane.pace import Pace
from sweeper.lane.pack import SAMPLE_EVERY, Machine, Pack
from sweeper.lane.probing import Probing
from sweeper.lane.protocol import Answer, Grant, Identity, Report, StudyPort
from sweeper.lane.record import Record
from sweeper.lane.rungs import passed, rung_steps
from sweeper.lane.storage import Storage
from sweeper.optim.configuration import Program, parse
from sweeper.stability.limits import Limits
from sweeper.tasks.own_loop import OwnLoop
from sweeper.tasks.registry import TaskName

_IDLE_S = 0.05
_HEARTBEAT_S = 1.0
# The first chunk of a pack compiles: then a lane may be silent for longer.
COMPILING_S = 300.0
# Chunks that may have been trained since the last report, generously.
_STRIDE_CHUNKS = 4
# Until it is known how long a step takes, chunks are this long at most.
_UNTUNED_STEPS = 50


class GivenUpError(Exception):
    """The study has replaced this lane process: it must end."""


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """What every lane of a sweep is told.

    Args:
        task: what is trained.
        capacity: slots.
        machine: device, dtype, compiled or not.
        limits: by which runs are judged.
        horizon: of the runs of the search; chunks divide it evenly.
        chunk_s: seconds that a chunk should take.
        save_s: seconds between row files.
        silence_s: seconds without a report after which the lane is taken for dead.
        patience_s: seconds for which the storage may fail.
        extras: hyperparameters with state of their own that runs may set; None for all.
        update_cosine: whether to record the cosine of successive updates.
        stress_horizon: steps up to which the forecasts of a run look, see ProbeLog; None for runs
            that aren't probed.
        report_rungs: whether the study is to hear of the losses at rungs, for a pruner.
        metrics: that an own loop must report, since the search optimises them.
    """

    task: TaskName
    capacity: int
    machine: Machine
    limits: Limits
    horizon: int
    chunk_s: float = 0.25
    save_s: float = 30.0
    silence_s: float = 60.0
    patience_s: float = 600.0
    extras: frozenset[str] | None = None
    update_cosine: bool = False
    stress_horizon: int | None = None
    report_rungs: bool = False
    metrics: tuple[str, ...] = ()


class Lane:
    """Keeps its packs full until the study says that the sweep is over."""

    def __init__(
        self, who: Identity, settings: LaneSettings, study: StudyPort, storage: Storage
    ) -> None:
        storage.prove_writable()
        self.who, self.settings, self.study, self.storage = who, settings, study, storage
        self.task = settings.task.load()
        self.packs: dict[Program, Pack | LoopPack] = {}
        self.records: dict[int, Record] = {}  # every run that the lane answers for
        self.waiting: deque[Grant] = deque()
        self.outbox = Parcel()
        self.rate = 0.0
        self._probing: Probing | None = None  # once a run is due
        self._probe_s = 0.0  # seconds, the longest
        self._exchange = Exchange(study, storage, who.process, settings.patience_s)
        self._chunks: dict[Program, int] = {}
        self._step_s: dict[Program, float] = {}  # seconds
        self._paces: defaultdict[Program, Pace] = defaultdict(Pace)
        self._pace = Pace()  # of run-steps, of all packs together
        self._announced: set[Program] = set()  # packs whose compilation the study knows of
        self._rung_steps = frozenset(rung_steps(settings.horizon))
        self._is_leaving = False
        self._is_careful = False  # trains suspects, which are saved after every chunk
        self._last_save = self._last_sent = time.monotonic()

    @property
    def active(self) -> int:
        """Runs in slots."""
        return sum(pack.capacity - pack.free for pack in self.packs.values())

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
            self._end_loops()
        self.save_all()

    def _end_loops(self) -> None:
        for pack in self.packs.values():
            if isinstance(pack, LoopPack):
                pack.close()

    def _train_until_end(self, on_chunk: Callable[[], None]) -> None:
        exchange: Future[Answer] | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="exchange") as pool:
            while not self._is_leaving:
                if exchange is not None and (exchange.done() or self._must_wait()):
                    answer, exchange = exchange.result(), None
                    if not self._apply(answer):
                        return
                self._fill()
                if exchange is None and self._is_due():
                    exchange = pool.submit(self._exchange.send, *self._prepare())
                if not self.active:
                    time.sleep(_IDLE_S)
                elif not self._is_new_pack():
                    self._train_chunk()
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
        found = {run: passed(r.curve, self._rung_steps) for run, r in self.records.items()}
        return {run: rungs for run, rungs in found.items() if rungs}

    def _apply(self, answer: Answer) -> bool:
        """Do what the study answers; False when the sweep is over."""
        if answer.gone:
            raise GivenUpError
        for run in answer.drop:
            self._drop(run)
        for path in answer.obsolete:
            self.storage.remove(path)
        if answer.grant:
            self._is_careful = any(grant.is_suspect for grant in answer.grant)
        known = {grant.run.id for grant in self.waiting} | set(self.records)
        self.waiting.extend(grant for grant in answer.grant if grant.run.id not in known)
        return not answer.end

    def _fill(self) -> None:
        """Put waiting runs into free slots."""
        while self.waiting and self.active < self.settings.capacity:
            self._place(self.waiting.popleft())

    def _place(self, grant: Grant) -> None:
        settings = self.settings
        is_loop = isinstance(self.task, OwnLoop)
        program = OWN_LOOP if is_loop else parse(grant.run.config).program
        pack = self.packs.get(program)
        if pack is None:
            pack = self.packs[program] = self._new_pack(program)
        record = Record(
            grant.run, self.task, settings.limits, settings.machine.eps, settings.stress_horizon
        )
        row = self._read_row(grant)
        if row is None and grant.row_file is not None:
            self.outbox.lost.append(grant.run.id)  # the study grants it again, from its start
            return
        if row is not None:
            record.restore(row)
        with lack_of_memory_told():
            slot = pack.place(grant.run, row)
        self.records[grant.run.id] = record
        assert pack.step_of(slot) == record.step, "a row and its record are of different steps"

    def _new_pack(self, program: Program) -> Pack | LoopPack:
        settings = self.settings
        if isinstance(self.task, OwnLoop):
            folder = self.storage.local(loop_folder.FOLDER)
            return LoopPack(settings.task, folder, settings.machine, wanted=settings.metrics)
        with lack_of_memory_told():
            return Pack(
                self.task,
                program,
                settings.capacity,
                settings.machine,
                extras=settings.extras,
                update_cosine=settings.update_cosine,
            )

    def _read_row(self, grant: Grant) -> dict[str, Tensor] | None:
        """The saved row of a run; None when there is none, or none that can be read."""
        if grant.row_file is None:
            return None
        try:
            return rows.read_row(self.storage, grant.row_file, grant.run.id)
        except rows.UnreadableError:
            return None

    def _drop(self, run: int) -> None:
        record = self.records.pop(run, None)
        if self._probing is not None and record is not None and record.probes is not None:
            self._probing.forget(record.probes)
        self.waiting = deque(grant for grant in self.waiting if grant.run.id != run)
        self.outbox.done.pop(run, None)
        self.outbox.pieces = [piece for piece in self.outbox.pieces if piece[0] != run]
        for pack in self.packs.values():
            slot = pack.runs().get(run)
            if slot is not None:
                pack.remove(slot)

    def _train_chunk(self) -> None:
        steps_made, started = 0, time.perf_counter()
        for program, pack in self.packs.items():
            if pack.free < pack.capacity:
                steps_made += self._train_pack(program, pack)
        step_s = self._pace.add(steps_made, time.perf_counter() - started)
        if step_s is not None:
            self.rate = 1 / step_s

    def _train_pack(self, program: Program, pack: Pack | LoopPack) -> int:
        before = {run: pack.step_of(slot) for run, slot in pack.runs().items()}
        ends = {run: self.records[run].run.horizon for run in before}
        left = max(ends[run] - step for run, step in before.items())
        steps = min(self._chunk(program), left, self._until_event(pack))
        started = time.perf_counter()
        try:
            with lack_of_memory_told():
                series = pack.train(steps)
        except LostRunError as error:
            self._drop(error.run)
            self.outbox.lost.append(error.run)  # the study grants it again, from its start
            return 0
        steps = len(series)  # made, see Pace
        step_s = self._paces[program].add(steps, time.perf_counter() - started)
        if step_s is None:
            return 0
        self._step_s[program] = step_s
        self._tune_chunk(program, step_s)
        for run, slot in pack.runs().items():
            record = self.records[run]
            record.take(series[:, :, slot])
            if record.ended:
                self._finish(record, pack, slot)
        self._probe(pack)
        return sum(min(steps, end - before[run]) for run, end in ends.items())

    def _until_event(self, pack: Pack | LoopPack) -> int:
        """Steps until the first run is due for a probe or ends, in whole tens: all rows are at
        the same place between two samples."""
        steps = []
        for run in pack.runs():
            record = self.records[run]
            due = record.probes.next_step(record.step) if record.probes is not None else None
            steps.append((due or record.run.horizon) - record.step)
        return SAMPLE_EVERY * math.ceil(min(steps) / SAMPLE_EVERY)

    def _probe(self, pack: Pack | LoopPack) -> None:
        """Copy the runs that are due, and measure them when a batch is full.

        Of a run that has failed there is nothing left to forecast.
        """
        due = {
            slot: record.probes
            for run, slot in pack.runs().items()
            if (record := self.records[run]).probes is not None
            and record.step in record.probes.steps
            and not record.verdict.failed
        }
        if not due or isinstance(pack, LoopPack):
            return
        started = time.perf_counter()
        with lack_of_memory_told():
            if self._probing is None:
                assert not isinstance(self.task, OwnLoop), "it isn't probed"
                capacity, machine = self.settings.capacity, self.settings.machine
                self._probing = Probing(self.task, capacity, machine)
            self._probing.take(pack, list(due), list(due.values()))
        self._probe_s = max(self._probe_s, time.perf_counter() - started)

    def _measure_probes(self, record: Record | None = None) -> None:
        """Measure what waits, of one run or of all, before anybody reads it."""
        if self._probing is not None and (record is None or record.probes is not None):
            with lack_of_memory_told():
                self._probing.flush(record.probes if record is not None else None)

    def _chunk(self, program: Program) -> int:
        # The first chunk compiles and tells how long a step takes; it is kept short.
        return self._chunks.get(program, min(SAMPLE_EVERY, self.settings.horizon))

    def _tune_chunk(self, program: Program, step_s: float) -> None:
        """Let a chunk take about `chunk_s`, and the horizon be whole chunks: rows end on one."""
        horizon = self.settings.horizon
        wanted = min(max(1, round(self.settings.chunk_s / step_s)), horizon)
        if program not in self._chunks and step_s * 10 > self.settings.chunk_s:
            wanted = min(_UNTUNED_STEPS, horizon)  # that was the compilation
        self._chunks[program] = chunk_length(horizon, wanted, SAMPLE_EVERY)

    def _finish(self, record: Record, pack: Pack | LoopPack, slot: int) -> None:
        run = record.run.id
        self._measure_probes(record)
        result = record.result()
        result["evaluation"] = pack.evaluate(slot) if result["finite"] else {}
        self.outbox.done[run] = result
        self.outbox.pieces.append(record.take_pending())
        pack.remove(slot)
        del self.records[run]

    def _prepare_save(self) -> None:
        if not self._is_save_due():
            return
        self._last_save = time.monotonic()
        self._measure_probes()
        for pack in self.packs.values():
            for run, slot in pack.runs().items():
                record = self.records[run]
                if record.step == record.written:  # what is on disk is its state
                    continue
                self.outbox.saves[run] = {**pack.row(slot), **record.save()}
                self.outbox.saved[run] = record.step
                self.outbox.pieces.append(record.take_pending())

    def _is_new_pack(self) -> bool:
        """Whether a pack is to be compiled of which the study has not heard yet."""
        return any(
            pack.free < pack.capacity
            and program not in self._chunks
            and program not in self._announced
            for program, pack in self.packs.items()
        )

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
        self._announced |= set(self.packs)
        is_compiling = bool(set(self.packs) - set(self._chunks))
        self._last_sent = time.monotonic()
        return parcel, Report(
            who=self.who,
            held=self._held(),
            room=max(0, self._room()),
            rungs=self._rungs(),
            rate=self.rate,
            capacity=self.settings.capacity,
            quiet_s=COMPILING_S if is_compiling else self._quiet_s(),
            stride=_STRIDE_CHUNKS * max([_UNTUNED_STEPS, *map(self._chunk, self.packs)]),
        )

    def _quiet_s(self) -> float:
        """Seconds without a report that mean nothing: slow steps make long chunks."""
        chunk_s = sum(self._chunk(program) * s for program, s in self._step_s.items())
        return max(self.settings.silence_s, 3 * (chunk_s + self._probe_s))

    def _room(self) -> int:
        """Free slots, and those whose run ends within the next chunk."""
        ending = sum(
            self.records[run].run.horizon - self.records[run].step <= self._chunk(program)
            for program, pack in self.packs.items()
            for run in pack.runs()
        )
        return self.settings.capacity - self.active - len(self.waiting) + ending


def chunk_length(horizon: int, wanted: int, unit: int) -> int:
    """The number of steps nearest to `wanted` that divides the horizon into whole chunks.

    It is a multiple of `unit`, the distance of the samples. Where no divisor is near, the last
    chunk of a run is shorter.
    """
    if horizon <= unit:
        return horizon
    most = max(1, round(min(wanted, horizon) / unit))
    near = [n for n in range(max(1, most // 2), 2 * most + 1) if horizon % (n * unit) == 0]
    return unit * min(near, key=lambda n: abs(math.log(n / most)), default=most)
