"""A seeded simulation of a whole sweep: the real study and database, simulated lanes and time.

`Simulation(seed=...).run()` runs one schedule of faults and raises Violation where a promise is
broken; the same seed gives the same schedule.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from audit import audit
from faults import Faults
from lease_model import promise
from simulated_lane import SimulatedLane
from simulated_spec import Size, make_spec
from simulated_storage import Fate, SimulatedStorage
from watched_database import WatchedDatabase, in_memory
from witness import Witness

from sweeper.lane.protocol import Answer, Identity, Report
from sweeper.lane.run import Run
from sweeper.spec import SweepSpec
from sweeper.study.database import Change, Trial, Unavailable
from sweeper.study.leases import Death
from sweeper.study.study import Study

_LONGEST_S = 3000.0
_CALL_S = 2.0
_PATIENCE_S = 30.0  # of the driver, with lanes that are to leave


class Simulation:
    """One sweep.

    Args:
        seed: of everything.
        size: of the sweep; drawn where it is not given.
        faulty: whether anything goes wrong.
        path: of the database, a file that every study opens anew; else it is in memory.
    """

    def __init__(
        self,
        seed: int,
        size: Size | None = None,
        *,
        faulty: bool = True,
        path: Path | None = None,
    ) -> None:
        rng = self.rng = random.Random(seed)
        self.sampler = rng.choice([*["random"] * 5, *["qmc"] * 2, "tpe"])
        # tpe draws its first 10 trials at random.
        trials = rng.randint(11, 14) if self.sampler == "tpe" else rng.randint(4, 8)
        drawn = Size(trials, rng.choice([1, 1, 2]), rng.randint(2, 4), rng.randint(1, 5))
        self.size = size or drawn
        self.search_seed = rng.randint(0, 3)
        self.more = rng.choice(["", "", "", "time 15", "run_steps 250"])
        self.stressed = rng.random() < 0.4
        if size:
            self.sampler, self.more, self.stressed = "random", "", False
        self.now = self.deaf_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.storage = SimulatedStorage()
        self.study: Study | None = None
        self.is_over = False
        self.launch = self._launch_number = 0
        self._ending_since: float | None = None
        self.lanes: list[SimulatedLane] = []  # processes that live
        self.causes: dict[str, str] = {}  # why a process ended
        self.dead_nodes: set[str] = set()
        self._processes = 0
        self._failing: set[str] = set()  # the study is being told that they failed
        self._fates: dict[int, Fate] = {}
        self.spec = self._make_spec()
        self.faults = Faults(self, rng, faulty=faulty)
        self.witness = Witness(self.spec, self.storage, self.fate, self.causes)
        self._path = path
        self.database = WatchedDatabase(path) if path else in_memory()
        self.database.wipe()

    def run(self) -> Simulation:
        """Run until the sweep is over, and check what it left."""
        self._launch()
        while not self.is_over:
            at, _, event = heapq.heappop(self._events)
            self.now = max(self.now, at)
            promise(self.now < _LONGEST_S, "the sweep does not end")
            event()
        audit(self.database, self.witness, self.storage, self.fate)
        return self

    def later(self, delay: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + delay, self._count, event))

    def clock(self) -> float:
        return self.now

    def _make_spec(self) -> SweepSpec:
        stressed = self.stressed
        return make_spec(self.sampler, self.search_seed, self.size, self.more, stressed=stressed)

    def fate(self, run: Run) -> Fate:
        if run.id not in self._fates:
            self._fates[run.id] = self.faults.fate(run.id)
        return self._fates[run.id]

    # The driver

    def _launch(self) -> None:
        self.launch, self._ending_since = self.launch + 1, None
        self._launch_number = self.database.begin_launch()
        self.start_study(0.0)
        for index in range(self.size.lanes):
            self.start_lane(index)
        self.later(1.0, self._drive)

    def _drive(self) -> None:
        """Look after the sweep as the driver does, every second."""
        if self.study is not None and self._ending_since is None:
            status = self.study.status()
            if status["finished"] or status["error"] or self.faults.is_closing:
                self._ending_since = self.now
                self.study.close()
                self.witness.is_closing = True
        since = self._ending_since
        if since is not None and (not self.lanes or self.now - since > _PATIENCE_S):
            self._end_launch()
        else:
            self.later(1.0, self._drive)

    def _end_launch(self) -> None:
        for lane in list(self.lanes):
            self.remove(lane, "driver")
        is_finished = self.study is not None and self.study.finished
        self.study, self.faults.is_closing = None, False
        more_trials = self.faults.more_trials(is_finished=is_finished)
        if is_finished and not more_trials:
            self.is_over = True
            return
        lanes = self.rng.randint(1, 4) if self.size.lanes < 9 else self.size.lanes
        self.size = replace(self.size, trials=self.size.trials + more_trials, lanes=lanes)
        self.spec = self._make_spec()
        self.witness.spec = self.spec
        self.later(1.0, self._launch)

    # The study

    def start_study(self, hold_back_s: float) -> None:
        self._end_replaced()
        self._open_database()
        self.witness.new_study(self.now)
        self.study = Study(
            self.database,
            self.spec,
            hold_back_s=hold_back_s,
            clock=self.clock,
            wall_clock=self.clock,
            explain=self._explain,
        )

    def _open_database(self) -> None:
        if self._path:
            self.database.close()
            self.database = WatchedDatabase(self._path)
            self.database.join_launch(self._launch_number)
        self.database.forget()
        self.database.watcher, self.database.fails = self, self.faults.of_database

    def stop_study(self, down_s: float, hold_back_s: float) -> None:
        """Let the study die, and start anew from its database."""
        launch, self.study = self.launch, None

        def start() -> None:
            if self.launch == launch and self.study is None and not self.is_over:
                self.start_study(hold_back_s)

        self.later(down_s, start)

    def _explain(self, death: Death) -> str | None:
        who = death.who
        if who.node in self.dead_nodes:
            return None
        self.causes.setdefault(who.process, "silent" if death.silent else "replaced")
        if death.silent and self.rng.random() < 0.5:
            for lane in [lane for lane in self.lanes if lane.who == who]:
                self.ended(lane, "silent")
        self.witness.explained()
        return self._words(who.process)

    def _words(self, process: str) -> str:
        """What a dead process left in its log: one that broke down by itself tends to say so."""
        says_so = self.causes.get(process) == "poison" and process[-1] not in "37"
        return f"{'Fatal Python error' if says_so else 'Killed'}: last words of {process}"

    def _end_replaced(self) -> None:
        """A study knows only from its own time that a process was replaced by another one."""
        newest = {lane.who.lane: lane for lane in self.lanes}
        for lane in [lane for lane in self.lanes if newest[lane.who.lane] is not lane]:
            self.remove(lane, "driver")

    # What the database tells

    def begins(self, what: object) -> None:
        self.witness.begins(what, self.now)

    def added(self, trials: Sequence[Trial], runs: Sequence[Run]) -> None:
        self.witness.added(trials, runs)

    def recorded(self, change: Change) -> None:
        self.witness.recorded(change)

    # Lanes

    def start_lane(self, index: int) -> None:
        self._processes += 1
        who = Identity(f"p{self._processes}", index, "host", self.faults.node())
        lane = SimulatedLane(self, who, self.faults.habits(self.size.capacity))
        self.lanes.append(lane)
        lane.start()

    def ended(self, lane: SimulatedLane, cause: str) -> None:
        """A lane process has ended; Tune starts the lane anew."""
        was_preempted = cause == "left" and self._ending_since is None
        self.remove(lane, cause)
        if cause == "poison" and self.rng.random() < 0.3:
            self.tell_failure(lane.who.process)
        if self._ending_since is None and (cause != "left" or was_preempted):
            self.start_again(lane.who.lane)

    def start_again(self, index: int) -> None:
        launch = self.launch

        def start() -> None:
            if self.launch == launch and not self.is_over and self._ending_since is None:
                self.start_lane(index)

        self.later(self.rng.choice([0.2, 1.0, 8.0]), start)

    def remove(self, lane: SimulatedLane, cause: str) -> None:
        lane.is_alive = False
        self.lanes.remove(lane)
        self.causes[lane.who.process] = cause
        if lane.is_tainted:
            self.witness.tainted.add(lane.who.process)

    def tell_failure(self, process: str) -> None:
        """A lane process says that it failed, until the study has it."""
        self._failing.add(process)
        launch = self.launch

        def tell() -> None:
            if self.launch != launch:
                return
            try:
                if self.study is None:
                    raise Unavailable
                self.witness.failed(process)
                self.study.lane_failed(process, f"Traceback: last words of {process}", final=False)
            except Unavailable:
                self.later(_CALL_S, tell)
            else:
                self._failing.discard(process)

        self.later(self.rng.choice([0.0, 0.5, 3.0]), tell)

    # The network

    def send(self, lane: SimulatedLane, report: Report) -> None:
        lane.sending = report
        self._transmit(lane, report)

    def _transmit(self, lane: SimulatedLane, report: Report) -> None:
        # A message is for the study that is there when it is sent; the lane sends it to the next.
        study = self.study

        def again() -> None:
            if not lane.is_alive or lane.sending is not report or lane.answer is not None:
                return
            if lane.hung_until > self.now:
                self.later(lane.hung_until - self.now, again)
            else:
                self._transmit(lane, report)

        for delay in self.faults.deliveries(lane):
            self.later(delay, lambda: self._deliver(lane, report, study))
        self.later(_CALL_S, again)

    def _deliver(self, lane: SimulatedLane, report: Report, study: Study | None) -> None:
        if study is None or study is not self.study or lane.who.process in self._failing:
            return
        self.witness.before(report, self.now - self.deaf_s)
        if lane.is_tainted:
            self.witness.tainted.add(lane.who.process)
        try:
            answer = study.sync(report)
        except Unavailable:
            return
        self.witness.after(report, answer)
        self.faults.granted(lane, answer)
        if self.faults.kills_study_now(report):
            return
        for delay in self.faults.deliveries(lane)[:1]:
            self.later(delay, lambda: self._receive(lane, report, answer))

    def _receive(self, lane: SimulatedLane, report: Report, answer: Answer) -> None:
        if lane.is_alive and lane.sending is report and lane.answer is None:
            lane.answer = answer
