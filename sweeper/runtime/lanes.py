"""Lanes as Ray Tune trials, and the study as a Ray actor.

Tune gives placement, retries and elasticity and nothing else: a lane never reports to it. Every
launch or resume is a fresh Tuner, ended by a stopper once the study says that the sweep is over.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.exceptions import GetTimeoutError, RayActorError

from sweeper.errors import SweepError
from sweeper.lane.lane import Lane
from sweeper.lane.protocol import Answer, Identity, Report
from sweeper.lane.storage import Storage
from sweeper.optim.step import warm_up
from sweeper.runtime import plan
from sweeper.spec import SweepSpec
from sweeper.study.folder import Folder, locked
from sweeper.study.study import Study
from sweeper.training import machine_for

NAMESPACE = "sweeper"
_HOLD_BACK_S = 5.0
_STUDY_GONE_S = 60.0
_CALL_S = 30.0
_MEASURE_S = 180.0  # then the lane that measures is taken for dead
_LOG_LINES = 40
# Read by the stopper in the thread of Tuner.fit; by reference, so that the stopper can be pickled.
_over = threading.Event()


class StudyActor:
    """The study in a Ray actor owned by the driver; restarted by Ray when its process dies."""

    def __init__(self, folder: str) -> None:
        home = Folder(Path(folder))
        # The actor of a driver that was just killed may live for some seconds more.
        self._lock = locked(home.path, "study.lock", wait_s=30)
        self._lock.__enter__()
        is_restart = ray.get_runtime_context().was_current_actor_reconstructed
        self._interrupted = False
        self._measuring_since = float("-inf")
        self._database = home.database()
        self._study = Study(
            self._database, home.read_spec(), hold_back_s=_HOLD_BACK_S if is_restart else 0.0
        )

    def sync(self, report: Report) -> Answer:
        answer = self._study.sync(report)
        if self._interrupted:
            return Answer(answer.drop, (), answer.obsolete, end=True)
        return answer

    def lane_failed(self, message: str, *, final: bool) -> None:
        self._study.lane_failed(message, final=final)

    def slots(self, proposal: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The capacity of all lanes. The first lane that asks is told to measure: None, once.

        Args:
            proposal: what a lane has measured; the first one counts, for ever.
        """
        if self._database.meta("slots") is None and proposal is not None:
            self._database.put_meta(slots=proposal)
        chosen: dict[str, Any] | None = self._database.meta("slots")
        if chosen is None and time.monotonic() - self._measuring_since < _MEASURE_S:
            return {"capacity": 0, "why": "another lane measures"}
        self._measuring_since = time.monotonic()
        return chosen

    def status(self) -> dict[str, Any]:
        return {**self._study.status(), "slots": self._database.meta("slots")}

    def interrupt(self) -> None:
        """From now on every lane is told to save and leave."""
        self._interrupted = True


class StudyOverRay:
    """The study as a lane sees it: calls that outlive a restart of the actor."""

    def __init__(self, name: str) -> None:
        self._name = name

    def sync(self, report: Report) -> Answer:
        answer: Answer = self._call("sync", report)
        return answer

    def lane_failed(self, message: str, *, final: bool) -> None:
        self._call("lane_failed", message, final=final)

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
        deadline = time.monotonic() + _STUDY_GONE_S
        while True:
            try:
                actor = ray.get_actor(self._name, NAMESPACE)
                return ray.get(getattr(actor, method).remote(*args, **kwargs), timeout=_CALL_S)
            except (RayActorError, GetTimeoutError, ValueError):
                # The call is idempotent: whether it arrived doesn't matter.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def lane_main(
    config: dict[str, Any], *, spec: SweepSpec, lanes: int, device: str, folder: str, study: str
) -> None:
    """The body of a Tune trial: one lane, until the study says that the sweep is over.

    It returns then: an actor that is still in its trainable ends only when Tune's patience does.
    Lanes that never got a place are ended by the stopper.
    """
    _die_with_parent()
    torch.set_num_threads(1)
    port = StudyOverRay(study)
    who = Identity(uuid.uuid4().hex[:12], int(config["lane"]), socket.gethostname())
    try:
        # Whether there is a compiler is known here, not on the driver's machine.
        machine = machine_for(device, spec.dtype)
        if machine.compiled:
            warm_up(machine.torch_device)  # all lanes at once, while one of them measures
        slots = port.slots(lambda: plan.choose_slots(spec, lanes, machine))
        settings = plan.lane_settings(spec, slots, machine)
        Lane(who, settings, port, Storage(folder)).run()
    except SweepError as error:
        port.lane_failed(str(error), final=True)
    except Exception:
        tail = traceback.format_exc().splitlines()[-_LOG_LINES:]
        port.lane_failed("\n".join(tail), final=False)
        raise


class SweepStopper(tune.Stopper):  # type: ignore[misc]
    """Ends the lanes when the sweep is over."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        del trial_id, result
        return False

    def stop_all(self) -> bool:
        return _over.is_set()


def start_lanes(
    folder: Folder, spec: SweepSpec, study: str, *, count: int, gpus: float
) -> threading.Thread:
    """Start `count` lanes; `end_lanes` ends them and the thread."""
    _over.clear()
    launches = folder.path / "ray"
    number = len(list(launches.glob("launch-*"))) + 1
    trainable = tune.with_resources(
        tune.with_parameters(
            lane_main,
            spec=spec,
            lanes=count,
            device="cuda" if gpus else "cpu",
            folder=str(folder.path),
            study=study,
        ),
        {"cpu": 1, "gpu": gpus},
    )
    tuner = tune.Tuner(
        trainable,
        param_space={"lane": tune.grid_search(list(range(count)))},
        run_config=tune.RunConfig(
            name=f"launch-{number}",
            storage_path=str(launches),
            failure_config=tune.FailureConfig(max_failures=-1),
            stop=SweepStopper(),
            verbose=0,
        ),
    )
    thread = threading.Thread(target=tuner.fit, name="tune", daemon=True)
    thread.start()
    return thread


def end_lanes(thread: threading.Thread, *, wait_s: float = 10.0) -> None:
    """End all lanes and wait for Tune to notice."""
    _over.set()
    thread.join(wait_s)


def _die_with_parent() -> None:
    """End this process when its raylet is gone: an orphan would train on and hold its device."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
