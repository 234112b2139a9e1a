"""A lane of the simulation: it does what sweeper.lane.lane does, without training."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from simulated_storage import Fate, Piece, SimulatedStorage, Training, diverged, verdict

from sweeper.lane.protocol import Answer, Grant, Identity, Report
from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part, Span

IDLE_S = 0.3
HELLO_QUIET_S = 20.0
_LEAVING_TRIES = 3


class World(Protocol):
    """What a lane sees of the world."""

    now: float
    storage: SimulatedStorage

    def later(self, delay: float, event: Callable[[], None]) -> None: ...
    def fate(self, run: Run) -> Fate: ...
    def send(self, lane: SimulatedLane, report: Report) -> None: ...
    def ended(self, lane: SimulatedLane, cause: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Habits:
    """How a lane works."""

    capacity: int
    chunk: int
    step_s: float
    save_s: float
    quiet_s: float
    heartbeat_s: float = 1.0


@dataclass(slots=True)
class Parcel:
    """What is to be reported, with the report that has everything else."""

    report: Report
    done: dict[int, dict[str, Any]] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    rows: list[tuple[int, int, int]] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    drop: tuple[int, ...] = ()
    tries: int = 0


class SimulatedLane:
    """A lane process. `tick` is called at every chunk boundary, as long as it lives."""

    def __init__(self, world: World, who: Identity, habits: Habits) -> None:
        self.world, self.who, self.habits = world, who, habits
        self.slots: dict[int, Training] = {}
        self.waiting: deque[Grant] = deque()
        self.is_alive, self.is_leaving, self.is_tainted = True, False, False
        self._is_careful = False  # trains suspects, which are saved after every chunk
        self.hung_until = 0.0
        self.sending: Report | None = None
        self.answer: Answer | None = None
        self._number = 0
        self._stops: dict[int, int] = {}  # of the chunk that is being trained
        self._done: dict[int, dict[str, Any]] = {}
        self._pieces: list[Piece] = []
        self._lost: list[int] = []
        self._parcel: Parcel | None = None
        self._not_before = 0.0
        self._last_save = self._last_sent = world.now

    def start(self) -> None:
        self.world.send(self, Report(self.who, quiet_s=HELLO_QUIET_S))
        self.world.later(IDLE_S, self.tick)

    def leave(self) -> None:
        """Save, report and end, after this chunk."""
        self.is_leaving = True

    def tick(self) -> None:
        if not self.is_alive:
            return
        if self.hung_until > self.world.now:
            self.world.later(self.hung_until - self.world.now, self.tick)
            return
        self._finish_chunk()
        if self.answer is not None and not self._take_answer():
            return
        if not self.is_leaving:
            self._fill()
        if self.sending is None and self.world.now >= self._not_before and self._is_due():
            self._send()
        self.world.later(self._begin_chunk(), self.tick)

    # Training

    def _fill(self) -> None:
        while self.waiting and len(self.slots) < self.habits.capacity:
            grant = self.waiting.popleft()
            training = self.world.storage.begin(grant.run, grant.row_file)
            if training is None:
                self._lost.append(grant.run.id)
            else:
                self.slots[grant.run.id] = training

    def _begin_chunk(self) -> float:
        """Begin to train; returns the seconds that it takes."""
        self._stops = {}
        if self.is_leaving or not self.slots:
            return IDLE_S
        deadly: list[int] = []
        for run, training in self.slots.items():
            fate = self.world.fate(training.run)
            self._stops[run] = min(training.step + self.habits.chunk, fate.stop)
            if fate.kills_before(self._stops[run]):
                deadly.append((fate.poison or 0) - training.step)
        if deadly:
            self.world.later((min(deadly) + 0.5) * self.habits.step_s, self._die)
        steps = max(stop - self.slots[run].step for run, stop in self._stops.items())
        return steps * self.habits.step_s

    def _die(self) -> None:
        if self.hung_until > self.world.now:
            self.world.later(self.hung_until - self.world.now, self._die)
        elif self.is_alive:
            self.world.ended(self, "poison")

    def _finish_chunk(self) -> None:
        for run, stop in self._stops.items():
            training, fate = self.slots[run], self.world.fate(self.slots[run].run)
            training.advance(stop)
            if stop == fate.stop:
                result = diverged(fate.steps) if fate.diverges else verdict(state=training.state)
                self._done[run] = result
                self._pieces.append(training.take_piece())
                del self.slots[run]
        self._stops = {}

    # Reports

    def _held(self) -> dict[int, int]:
        waiting = {grant.run.id: 0 for grant in self.waiting}
        return waiting | {run: training.step for run, training in self.slots.items()}

    def _room(self) -> int:
        ending = sum(
            self.world.fate(training.run).stop - training.step <= self.habits.chunk
            for training in self.slots.values()
        )
        return max(0, self.habits.capacity - len(self.slots) - len(self.waiting) + ending)

    def _is_due(self) -> bool:
        if self._parcel or self.is_leaving or self._done or self._lost or self._room() > 0:
            return True
        now, habits = self.world.now, self.habits
        return self._is_save_due() or now - self._last_sent > habits.heartbeat_s

    def _is_save_due(self) -> bool:
        is_late = self.world.now - self._last_save > self.habits.save_s
        return self.is_leaving or self._is_careful or is_late

    def _collect(self) -> Parcel:
        report = Report(
            who=self.who,
            held=self._held(),
            room=self._room(),
            capacity=self.habits.capacity,
            rate=1.0,
            quiet_s=self.habits.quiet_s,
            stride=4 * self.habits.chunk,
        )
        if self.is_leaving:
            report = Report(who=self.who, leaving=True)
        rows = []
        if self._is_save_due():
            self._last_save = self.world.now
            for run, training in self.slots.items():
                rows.append((run, training.step, training.state))
                self._pieces.append(training.take_piece())
        pieces = [piece for piece in self._pieces if piece.stop > piece.first]
        parcel = Parcel(report, self._done, pieces, rows, self._lost)
        self._done, self._pieces, self._lost = {}, [], []
        return parcel

    def _send(self) -> None:
        """Write files and report them; where they can't be written, only say so."""
        self._last_sent = self.world.now
        parcel = self._parcel = self._parcel or self._collect()
        self._number += 1
        is_stuck = self.world.storage.is_down and bool(parcel.pieces or parcel.rows)
        if is_stuck and parcel.report.leaving and parcel.tries >= _LEAVING_TRIES:
            parcel = self._parcel = Parcel(parcel.report)
            is_stuck, self.is_tainted = False, True
        if is_stuck:
            parcel.tries += 1
            self.world.send(self, self._alive(parcel))
        else:
            self.world.send(self, self._whole(parcel))

    def _alive(self, parcel: Parcel) -> Report:
        ended = {run: int(result["steps"]) for run, result in parcel.done.items()}
        return replace(
            parcel.report,
            number=self._number,
            held={**parcel.report.held, **ended},
            room=0,
            leaving=False,
            trouble="can't write",
        )

    def _whole(self, parcel: Parcel) -> Report:
        name = f"{self.who.process}-{self._number}"
        storage, part = self.world.storage, None
        if parcel.pieces:
            storage.write_part(name, parcel.pieces)
            spans = tuple(Span(p.run.id, p.first, p.stop) for p in parcel.pieces)
            part = Part(name, spans)
        if parcel.rows:
            storage.write_rows(name, parcel.rows)
        return replace(
            parcel.report,
            number=self._number,
            done=parcel.done,
            saved={run: step for run, step, _ in parcel.rows},
            row_file=name if parcel.rows else None,
            part=part,
            lost=tuple(parcel.lost),
        )

    # Answers

    def _take_answer(self) -> bool:
        """Do what the study answers; False when this process has ended by it."""
        answer, report, parcel = self.answer, self.sending, self._parcel
        assert answer is not None and report is not None
        self.answer = self.sending = None
        if answer.gone:
            self.world.ended(self, "gone")
            return False
        if report.trouble and parcel is not None:
            self._live_on(parcel, answer)
            return True
        if report.leaving:
            self.world.ended(self, "left")
            return False
        drop = answer.drop + (parcel.drop if parcel else ())
        self._parcel = None
        self._obey(replace(answer, drop=drop))
        return True

    def _live_on(self, parcel: Parcel, answer: Answer) -> None:
        """What became of an exchange that could not be made as it should be."""
        parcel.drop += answer.drop
        if answer.end and not parcel.report.leaving:
            self._parcel, self.is_tainted = None, True  # what it had to say is not said
            self._obey(replace(answer, drop=parcel.drop, grant=()))
        else:
            self._not_before = self.world.now + 0.5

    def _obey(self, answer: Answer) -> None:
        for run in answer.drop:
            self._drop(run)
        for path in answer.obsolete:
            self.world.storage.remove(path)
        if answer.grant:
            self._is_careful = any(grant.is_suspect for grant in answer.grant)
        known = {grant.run.id for grant in self.waiting} | set(self.slots)
        self.waiting.extend(grant for grant in answer.grant if grant.run.id not in known)
        if answer.end:
            self.is_leaving = True

    def _drop(self, run: int) -> None:
        self.slots.pop(run, None)
        self.waiting = deque(grant for grant in self.waiting if grant.run.id != run)
        self._done.pop(run, None)
        self._pieces = [piece for piece in self._pieces if piece.run.id != run]
