"""The study as a Ray actor, and as a lane sees it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.errors import SweepError
from sweeper.lane.protocol import Answer, Report
from sweeper.runtime import logs, plan
from sweeper.study.database import Fenced, Unavailable
from sweeper.study.folder import Folder, locked
from sweeper.study.leases import Death
from sweeper.study.study import Study

NAMESPACE = "sweeper"
_HOLD_BACK_S = 5.0
_STUDY_GONE_S = 60.0
_CALL_S = 30.0
_LONGEST_DELAY_S = 2.0
_WORDS_S = 10.0
_MEASURE_S = 180.0  # then the lane that measures is taken for dead


class StudyActor:
    """The study in a Ray actor owned by the driver; restarted by Ray when its process dies.

    Args:
        folder: of the sweep.
        launch: number of this launch; once there is a later one, nothing is written any more.
    """

    def __init__(self, folder: str, launch: int) -> None:
        home = Folder(Path(folder))
        self._folder = home.path
        self._locks = contextlib.ExitStack()
        # The actor of a driver that was just killed may live for some seconds more.
        self._locks.enter_context(locked(home.path, "study.lock", wait_s=30))
        self._launch = launch
        self._handles: dict[str, Any] = {}
        self._measuring_since = float("-inf")
        self._trouble: str = ""
        self._trouble_since = float("-inf")
        self._database = home.database()
        self._locks.enter_context(self._database.lock(wait_s=30))
        self._database.join_launch(launch)
        self._slots: dict[str, Any] | None = self._database.meta("slots")
        is_restart = ray.get_runtime_context().was_current_actor_reconstructed
        self._study = Study(
            self._database,
            home.read_spec(),
            hold_back_s=_HOLD_BACK_S if is_restart else 0.0,
            explain=self._explain,
        )

    # What lanes call

    def hello(self, report: Report, handle: list[Any]) -> Answer:
        """The first report of a lane process, and its actor (in a list: else Ray resolves it)."""
        self._handles[report.who.process] = handle[0]
        return self.sync(report)

    def sync(self, report: Report) -> Answer:
        try:
            answer = self._study.sync(report)
        except Fenced:
            return Answer(gone=True)  # the driver learns it from the status
        except Unavailable as error:
            self._note_trouble(str(error))
            raise
        self._trouble = ""
        return answer

    def lane_failed(self, process: str, message: str, *, final: bool) -> None:
        self._study.lane_failed(process, message, final=final)

    def slots(self, proposal: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The capacity of all lanes. The first lane that asks is told to measure: None, once.

        Args:
            proposal: what a lane has measured; the first one counts, for ever.
        """
        if self._slots is None and proposal is not None:
            self._put_slots(proposal)
        if self._slots is None and time.monotonic() - self._measuring_since < _MEASURE_S:
            return {"capacity": 0, "why": "another lane measures"}
        self._measuring_since = time.monotonic()
        return self._slots

    def halve(self, capacity: int, why: str) -> dict[str, Any]:
        """The capacity to go on with where memory doesn't suffice for this one."""
        if self._slots is None or self._slots["capacity"] >= capacity:
            self._put_slots(plan.halved(capacity, why))
        assert self._slots is not None
        return self._slots

    # What the driver calls

    def status(self) -> dict[str, Any]:
        """Progress in plain values, with what keeps the study from working, if anything does."""
        try:
            wants_stop = self._database.meta("stop") == self._launch
            if self._trouble:
                self._database.put_meta(written=time.time())
                self._trouble = ""
            status = self._study.status()
        except Unavailable as error:
            self._note_trouble(str(error))
            wants_stop, status = False, self._study.status()
        except Fenced as error:
            return {"error": str(error)}
        trouble_s = time.monotonic() - self._trouble_since if self._trouble else 0.0
        more = {"slots": self._slots, "trouble": self._trouble, "trouble_s": trouble_s}
        return {**status, **more, "stop": wants_stop}

    def interrupt(self) -> None:
        """From now on every lane is told to save and leave."""
        self._study.close()

    # Its own

    def _put_slots(self, slots: dict[str, Any]) -> None:
        self._database.put_meta(slots=slots)
        self._slots = slots

    def _note_trouble(self, text: str) -> None:
        if not self._trouble:
            self._trouble_since = time.monotonic()
        self._trouble = text

    def _explain(self, death: Death) -> str | None:
        """The last words of a lane process; None when its whole node is gone."""
        if death.silent:
            self._end(death.who.process)
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        if death.who.node and death.who.node not in alive:
            return None
        said = logs.last_words(self._folder, death.who.process)
        return said or self._last_words_there(death)

    def _last_words_there(self, death: Death) -> str:
        """The end of a log that is on the lane's own machine."""
        node = death.who.node
        if node in ("", ray.get_runtime_context().get_node_id()):
            return ""
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        ask = ray.remote(logs.last_words).options(num_cpus=0, scheduling_strategy=there)
        try:
            return str(ray.get(ask.remote(self._folder, death.who.process), timeout=_WORDS_S))
        except (ray.exceptions.RayError, TimeoutError):
            return ""

    def _end(self, process: str) -> None:
        """End a lane that hangs: Tune then starts it anew."""
        handle = self._handles.pop(process, None)
        if handle is not None:
            with contextlib.suppress(ValueError, ray.exceptions.RayError):
                ray.kill(handle, no_restart=True)


class StudyOverRay:
    """The study as a lane sees it: calls that outlive a restart of the actor, and its disk."""

    def __init__(self, name: str) -> None:
        self._name = name

    def hello(self, report: Report) -> Answer:
        """See StudyActor.hello; called in the lane's actor."""
        me = ray.get_runtime_context().current_actor
        answer: Answer = self._call("hello", report, [me])
        return answer

    def sync(self, report: Report) -> Answer:
        answer: Answer = self._call("sync", report)
        return answer

    def lane_failed(self, process: str, message: str, *, final: bool) -> None:
        self._call("lane_failed", process, message, final=final)

    def halve(self, capacity: int, why: str) -> int:
        """See StudyActor.halve; raises SweepError when there is nothing to halve."""
        if capacity == 1:
            raise SweepError(f"not even one run fits into memory: {why}", where="task")
        return int(self._call("halve", capacity, why)["capacity"])

    def slots(self, measure: Callable[[], dict[str, Any]]) -> int:
        """The capacity of all lanes; measured here when nobody has, while the others wait."""
        chosen = self._call("slots")
        if chosen is None:
            chosen = self._call("slots", measure())
        while not chosen["capacity"]:
            time.sleep(0.2)
            chosen = self._call("slots") or self._call("slots", measure())
        return int(chosen["capacity"])

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        deadline, delay = time.monotonic() + _STUDY_GONE_S, 0.2
        while True:
            try:
                actor = ray.get_actor(self._name, NAMESPACE)
                return ray.get(getattr(actor, method).remote(*args, **kwargs), timeout=_CALL_S)
            except Unavailable:
                # The study is there and says so to the driver, which ends the sweep in the end.
                deadline = time.monotonic() + _STUDY_GONE_S
            except (RayActorError, GetTimeoutError, ValueError):
                # The call is idempotent: whether it arrived doesn't matter.
                if time.monotonic() > deadline:
                    raise
            time.sleep(delay)
            delay = min(1.5 * delay, _LONGEST_DELAY_S)
