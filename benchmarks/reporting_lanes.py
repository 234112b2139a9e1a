"""Lanes that train nothing, and how many of their reports the real study serves in a second.

The study is the one that sweeps have, with its database on disk: as a Ray actor, or in this
process. A lane that trains says once a second at which steps its runs are, and now and then that
some have ended, with their results.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import Any

import ray

from sweeper.lane.protocol import Answer, Identity, Report
from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part, Span
from sweeper.runtime.study_actor import NAMESPACE, StudyActor
from sweeper.spec import SweepSpec
from sweeper.study.folder import Folder
from sweeper.study.study import Study

CAPACITY = 8
# One report in so many brings the result of a run.
RESULT_EVERY = 10
_CURVE = [[step, 0.5, 1.0, 1e-3, 1e-3, 1.0, 0.0, 1.0, None] for step in range(42)]


class ReportingLane:
    """A lane that says it trains.

    Args:
        index: of the lane.
        result_every: how seldom a report brings a result; 0 is never.
    """

    def __init__(self, index: int, result_every: int) -> None:
        self.who = Identity(f"process{index}", index, "host")
        self._held: dict[int, Run] = {}
        self._number = index % max(1, result_every)  # lanes don't all end runs at once
        self._every = result_every

    def report(self) -> Report:
        """The next one."""
        self._number += 1
        done: dict[int, dict[str, Any]] = {}
        if self._held and self._every and self._number % self._every == 0:
            run = self._held.pop(next(iter(self._held)))
            done[run.id] = verdict(run)
        spans = tuple(Span(run, 0, int(result["steps"])) for run, result in done.items())
        return Report(
            self.who,
            self._number,
            held=dict.fromkeys(self._held, 100),
            room=CAPACITY - len(self._held),
            done=done,
            part=Part(f"{self.who.process}-{self._number}", spans) if spans else None,
            capacity=CAPACITY,
            quiet_s=600.0,
        )

    def take(self, answer: Answer) -> None:
        """Begin with what was granted."""
        self._held |= {grant.run.id: grant.run for grant in answer.grant}


def verdict(run: Run) -> dict[str, Any]:
    """The result of a run that held, as large as a real one; its loss follows from its lr."""
    loss = 10.0 ** -(8 + abs(float(run.config["lr"])))
    return {
        "steps": run.horizon, "finite": True, "hopeless": False, "failed": False,
        "negative": False, "first_loss": 90.0, "best_loss": loss, "final_loss": loss,
        "tail_loss": loss, "floor": 1e-12, "draw_up": 0.5, "give_back": 0.01, "spike_score": None,
        "upward_spike_score": None, "onset_step": None, "stable_steps": run.horizon,
        "curve": _CURVE,
    }  # fmt: skip


def served_in_process(spec: SweepSpec, lanes: int, seconds: float, result_every: int) -> float:
    """Reports a second that a study in this process serves."""
    folder = _made(spec)
    with closing(folder.database()) as database:
        study = Study(database, spec)
        every = deque(ReportingLane(index, result_every) for index in range(lanes))
        for lane in every:
            lane.take(study.sync(lane.report()))
        return _rate(every, seconds, lambda lane: lane.take(study.sync(lane.report())))


def served_over_ray(spec: SweepSpec, lanes: int, seconds: float, result_every: int) -> float:
    """Reports a second that the study's Ray actor serves, every lane waiting for its answer."""
    folder = _made(spec)
    with closing(folder.database()) as database:
        launch = database.begin_launch()
    actor = ray.remote(StudyActor).options(namespace=NAMESPACE, num_cpus=0)
    study = actor.remote(str(folder.path), launch)
    every = [ReportingLane(index, result_every) for index in range(lanes)]
    asked = {study.sync.remote(lane.report()): lane for lane in every}
    for answer, lane in list(asked.items()):
        lane.take(ray.get(answer))
    asked = {study.sync.remote(lane.report()): lane for lane in every}
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        ready, _ = ray.wait(list(asked), num_returns=min(100, lanes), timeout=10)
        for answer in ready:
            lane = asked.pop(answer)
            lane.take(ray.get(answer))
            asked[study.sync.remote(lane.report())] = lane
        count += len(ready)
    rate = count / (time.perf_counter() - began)
    ray.kill(study)
    return rate


def _made(spec: SweepSpec) -> Folder:
    folder = Folder(spec.folder)
    folder.path.mkdir(parents=True)
    folder.create(spec)
    return folder


def _rate(
    lanes: deque[ReportingLane], seconds: float, exchange: Callable[[ReportingLane], None]
) -> float:
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        exchange(lanes[0])
        lanes.rotate(-1)
        count += 1
    return count / (time.perf_counter() - began)
