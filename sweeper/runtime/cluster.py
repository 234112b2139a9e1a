"""A sweep on Ray: run the lanes, follow them, end them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.errors import SweepError
from sweeper.runtime import lane_count, lanes
from sweeper.runtime.session import ray_session
from sweeper.runtime.signals import signals_interrupt
from sweeper.runtime.study_actor import NAMESPACE, StudyActor
from sweeper.spec import SweepSpec
from sweeper.study.folder import Folder

_POLL_S = 0.3
_DRAIN_S = 15.0
_STUDY_GONE_S = 60.0


def run_on_ray(
    folder: Folder,
    spec: SweepSpec,
    launch: int,
    show: Callable[[dict[str, Any]], None],
    *,
    address: str | None = None,
) -> None:
    """Train on Ray lanes until the sweep is over.

    Args:
        launch: number of this launch.
        show: called with the study's status several times a second.
        address: "auto" joins the cluster that this machine belongs to; default one of its own.

    Raises:
        SweepError: the lanes ended with an error.
        KeyboardInterrupt: row files are written first.
    """
    log = folder.path / "ray.log"
    with ray_session(log, address), signals_interrupt() as check:  # after ray.init's own
        found = lane_count.count(spec, grows=address is not None)
        show({"phase": "starting Ray lanes"})
        actor = _study_actor(folder, launch)
        name = _study_name(folder)
        thread = lanes.start_lanes(folder, spec, name, launch=launch, lanes=found)
        is_there = True
        try:
            _follow(actor, thread, show, check, patience_s=spec.lanes.patience)
        except KeyboardInterrupt:
            show({"phase": "saving the runs"})
            is_there = _drain(actor)
            raise
        finally:
            lanes.end_lanes(thread, wait_s=10.0 if is_there else 1.0)


def _study_name(folder: Folder) -> str:
    return f"study-{folder.name}"


def _study_actor(folder: Folder, launch: int) -> Any:
    # On this node: the folder, with the database in it, may be one of this machine only.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {
        "name": _study_name(folder),
        "namespace": NAMESPACE,
        "num_cpus": 0,
        "max_restarts": -1,
        "scheduling_strategy": here,
    }
    study = ray.remote(StudyActor).options(**options)
    try:
        return study.remote(str(folder.path), launch)
    except ValueError as error:
        raise SweepError(f"sweep {folder.name!r} is running already on this cluster") from error


def _follow(
    actor: Any,
    thread: threading.Thread,
    show: Callable[[dict[str, Any]], None],
    check: Callable[[], None],
    *,
    patience_s: float,
) -> None:
    """Watch the study until it is finished; `sweeper stop` is an interrupt from elsewhere."""
    heard = time.monotonic()
    while True:
        check()
        try:
            status = ray.get(actor.status.remote(), timeout=5)
            heard = time.monotonic()
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError) as error:
            if time.monotonic() - heard > _STUDY_GONE_S:  # Ray restarts it within seconds
                raise SweepError(f"the study doesn't answer: {error}") from error
            time.sleep(_POLL_S)
            continue
        if status["error"]:
            raise SweepError(f"the lanes ended with an error:\n{status['error']}")
        if status["trouble_s"] > patience_s:
            raise SweepError(
                f"the study can't write its database: {status['trouble']}",
                where="storage",
                cure="Mend that, then go on with `sweeper resume`: nothing is lost.",
            )
        show(status)
        if status["finished"]:
            return
        if status["stop"]:
            raise KeyboardInterrupt
        if not thread.is_alive():
            raise SweepError("Ray Tune ended before the sweep did", cure="Look into ray.log.")
        time.sleep(_POLL_S)


def _drain(actor: Any) -> bool:
    """Tell the lanes to save, and wait until none holds a run; False when Ray doesn't answer.

    A signal to the whole process group has ended Ray, too: every call has a deadline.
    """
    deadline = time.monotonic() + _DRAIN_S
    try:
        ray.get(actor.interrupt.remote(), timeout=5)
        while time.monotonic() < deadline:
            status = ray.get(actor.status.remote(), timeout=5)
            if not any(lane["held"] for lane in status["lanes"]):
                break
            time.sleep(_POLL_S)
    except (ray.exceptions.RayError, KeyboardInterrupt):
        return False  # the last row files are what the sweep goes on from
    return True
