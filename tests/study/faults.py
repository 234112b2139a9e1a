"""What goes wrong in a simulation, and when: drawn from its seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from simulated_lane import Habits, SimulatedLane
from simulated_storage import HORIZON, Fate

from sweeper.lane.protocol import Answer, Report

if TYPE_CHECKING:
    from simulation import Simulation

QUIET_S = 6.0


class Faults:
    """Every choice of a simulation that is drawn.

    Args:
        world: what they happen to.
        rng: of the world.
        faulty: whether anything goes wrong.
    """

    def __init__(self, world: Simulation, rng: random.Random, *, faulty: bool) -> None:
        self._world, self._rng = world, rng
        self.is_closing = False
        self._lose = rng.choice([0.0, 0.0, 0.03, 0.15]) if faulty else 0.0
        self._repeat = rng.choice([0.0, 0.0, 0.1, 0.3]) if faulty else 0.0
        self._delay_s = rng.choice([0.01, 0.1, 0.5])
        self._nodes = ["node0", "node1", "node2"]
        self._nodes_used = len(self._nodes)
        self._database_mode = ""
        self._kills_study = self._hangs_at_grant = False
        self._extensions = rng.choice([0, 0, 1]) if faulty else 0
        self._diverging = rng.choice([0.0, 0.2])
        self._poison: dict[int, int] = {}
        runs = world.size.trials * world.size.seeds
        if faulty:
            for run in rng.sample(range(runs), min(runs, rng.choice([0, 0, 1, 1, 2]))):
                self._poison[run] = rng.randrange(HORIZON)
            self._plan()

    def _plan(self) -> None:
        kinds = [
            self._crash, self._crash, self._raise, self._retire, self._lose_node, self._hang,
            self._hang_long, self._hang_over_restart, self._hang_over_restart,
            self._hang_at_grant, self._replace, self._preempt, self._restart_study,
            self._kill_study_after_commit, self._database_trouble, self._database_trouble,
            self._storage_trouble, self._break_rows, self._break_rows, self._close,
        ]  # fmt: skip
        window = self._rng.choice([8.0, 20.0, 40.0])
        for _ in range(self._rng.choice([1, 2, 4, 8])):
            kind = self._rng.choice(kinds)
            self._world.later(self._rng.uniform(0.5, window), kind)
        for index in range(self._world.size.lanes // 20):  # of a thousand lanes some always do
            kind = self._crash if index % 2 else self._hang_long
            self._world.later(self._rng.uniform(0.5, window), kind)

    # What a world is like

    def fate(self, run: int) -> Fate:
        rng = random.Random(hash((run, self._world.search_seed)))
        diverges = rng.random() < self._diverging
        steps = rng.randrange(HORIZON - 1) if diverges else HORIZON
        return Fate(steps, diverges, self._poison.get(run))

    def habits(self, capacity: int) -> Habits:
        rng = self._rng
        return Habits(
            capacity=capacity,
            chunk=rng.choice([4, 10, 15, 20]),
            step_s=rng.choice([0.03, 0.06, 0.15]),
            save_s=rng.choice([0.7, 3.0, 8.0]),
            quiet_s=QUIET_S,
        )

    def node(self) -> str:
        return self._rng.choice(self._nodes)

    def more_trials(self, *, is_finished: bool) -> int:
        """Trials by which the budget grows when the user launches again."""
        if not self._extensions:
            return 0
        self._extensions -= 1
        return self._rng.randint(1, 3) if is_finished else self._rng.randint(0, 3)

    # The network

    def deliveries(self, lane: SimulatedLane) -> list[float]:
        """After which delays a message arrives: none where it is lost, two where it is doubled."""
        rng, delay = self._rng, self._rng.expovariate(1 / self._delay_s)
        if self._is_fragile(lane):
            return [min(delay, 1.0)]
        if rng.random() < self._lose:
            return []
        return [delay] + ([rng.uniform(0, QUIET_S - 1)] if rng.random() < self._repeat else [])

    def _is_fragile(self, lane: SimulatedLane) -> bool:
        """Whether a run would be given up if this lane died now: only poison may do that."""
        witness = self._world.witness
        runs = {*witness.leases.of(lane.who.process), *lane.slots}
        return any(witness.runs[run].deaths >= 2 for run in runs)

    # Lanes

    def _some_lane(self) -> SimulatedLane | None:
        lanes = [lane for lane in self._world.lanes if not self._is_fragile(lane)]
        return self._rng.choice(lanes) if lanes else None

    def _crash(self) -> None:
        lane = self._some_lane()
        if lane is not None:
            self._world.ended(lane, "killed")

    def _raise(self) -> None:
        lane = self._some_lane()
        if lane is not None:
            self._world.ended(lane, "raised")
            self._world.tell_failure(lane.who.process)

    def _retire(self) -> None:
        """A lane dies and is not started again, unless it was the last one."""
        lane = self._some_lane()
        if lane is not None and len(self._world.lanes) > 1:
            self._world.remove(lane, "retired")

    def _lose_node(self) -> None:
        node = self.node()
        lanes = [lane for lane in self._world.lanes if lane.who.node == node]
        self._nodes_used += 1
        self._nodes[self._nodes.index(node)] = f"node{self._nodes_used}"
        self._world.dead_nodes.add(node)
        for lane in lanes:
            self._world.ended(lane, "node")

    def _hang(self) -> None:
        self._hang_for(self._rng.uniform(0.5, QUIET_S - 3))

    def _hang_long(self) -> None:
        self._hang_for(self._rng.uniform(QUIET_S, 4 * QUIET_S))

    def _hang_over_restart(self) -> None:
        """A lane wakes up when there is another study, which doesn't know that it was silent."""
        seconds = self._rng.uniform(1.5 * QUIET_S, 4 * QUIET_S)
        if self._hang_for(seconds) is not None:
            self._restart_study_in(seconds - self._rng.uniform(0, 0.3))

    def _restart_study_in(self, seconds: float) -> None:
        self._world.later(seconds, lambda: self._world.stop_study(0.0, 3.0))

    def _hang_at_grant(self) -> None:
        self._hangs_at_grant = True

    def granted(self, lane: SimulatedLane, answer: Answer) -> None:
        """A lane that was just given a saved run may hang before it reads the row."""
        has_row = any(grant.row_file for grant in answer.grant)
        if self._hangs_at_grant and has_row and lane.is_alive and not self._is_fragile(lane):
            self._hangs_at_grant = False
            seconds = self._rng.uniform(2 * QUIET_S, 6 * QUIET_S)
            lane.hung_until = self._world.now + seconds
            if self._rng.random() < 0.5:
                self._restart_study_in(seconds - self._rng.uniform(0, 1))

    def _hang_for(self, seconds: float) -> SimulatedLane | None:
        lane = self._some_lane()
        if lane is not None:
            lane.hung_until = self._world.now + seconds
        return lane

    def _replace(self) -> None:
        """A lane hangs and is started anew elsewhere while it still lives."""
        lane = self._hang_for(self._rng.uniform(2, 4 * QUIET_S))
        if lane is not None:
            self._world.start_again(lane.who.lane)

    def _preempt(self) -> None:
        lane = self._some_lane()
        if lane is not None:
            lane.leave()

    def _close(self) -> None:
        self.is_closing = True

    # The study, its database, the storage

    def _restart_study(self) -> None:
        down_s = self._rng.choice([0.0, 1.0, 10.0])
        self._world.stop_study(down_s, self._rng.choice([0.0, 3.0, 5.0]))

    def _kill_study_after_commit(self) -> None:
        self._kills_study = True

    def kills_study_now(self, report: Report) -> bool:
        """Whether the study dies between the commit of a report and its answer."""
        if not self._kills_study or not (report.done or report.saved):
            return False
        self._kills_study = False
        self._restart_study()
        return True

    def _database_trouble(self) -> None:
        self._set_database(self._rng.choice(["before", "after", "mixed", "slow"]))
        self._world.later(self._rng.choice([0.5, 3.0, 15.0]), lambda: self._set_database(""))

    def _set_database(self, mode: str) -> None:
        self._database_mode = mode

    def of_database(self) -> str:
        """How the next write fails: before or after the commit, or not at all."""
        if self._database_mode == "slow":
            waited = self._rng.uniform(0.1, 9.0)
            self._world.now += waited
            self._world.deaf_s += waited
            return ""
        if self._database_mode == "mixed":
            return self._rng.choice(["before", "after", ""])
        return self._database_mode

    def _storage_trouble(self) -> None:
        storage = self._world.storage
        storage.is_down = True

        def end() -> None:
            storage.is_down = False

        self._world.later(self._rng.choice([0.5, 3.0, 10.0]), end)

    def _break_rows(self) -> None:
        """Some of the row files that are needed can't be read any more."""
        known = self._world.witness.runs.values()
        files = sorted({one.row_file for one in known if one.row_file is not None})
        for row_file in files:
            if self._rng.random() < 0.5:
                self._world.storage.broken.add(row_file)
