"""A sweep on Ray: start or join a cluster, measure, run the lanes, follow them, end them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Ray reads these when it is imported. A sweep has its own progress, loggers and retries.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Else a late call of Tune would start a second Ray after ours was shut down.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

from sweeper.errors import SweepError
from sweeper.runtime import lanes, plan
from sweeper.runtime.signals import sigterm_interrupts
from sweeper.spec import SweepSpec
from sweeper.study.folder import Folder

_POLL_S = 0.3
_DRAIN_S = 15.0


def run_on_ray(folder: Folder, spec: SweepSpec, show: Callable[[dict[str, Any]], None]) -> None:
    """Train on Ray lanes until the sweep is over.

    Args:
        show: called with the study's status several times a second.

    Raises:
        SweepError: the lanes ended with an error.
        KeyboardInterrupt: row files are written first.
    """
    with _cluster(folder.path / "ray.log"):
        gpus = _gpus_per_lane(spec)
        count = _lane_count(spec, gpus)
        show({"phase": "starting Ray lanes"})
        actor = _study_actor(folder)
        thread = lanes.start_lanes(folder, spec, _study_name(folder), count=count, gpus=gpus)
        try:
            _follow(actor, thread, show)
        except KeyboardInterrupt:
            show({"phase": "saving the runs"})
            _drain(actor)
            raise
        finally:
            lanes.end_lanes(thread)


def _study_name(folder: Folder) -> str:
    return f"study-{folder.name}"


def _study_actor(folder: Folder) -> Any:
    options = {
        "name": _study_name(folder),
        "namespace": lanes.NAMESPACE,
        "num_cpus": 0,
        "max_restarts": -1,
    }
    try:
        return ray.remote(lanes.StudyActor).options(**options).remote(str(folder.path))
    except ValueError as error:
        raise SweepError(f"sweep {folder.name!r} is running already on this cluster") from error


def _follow(actor: Any, thread: threading.Thread, show: Callable[[dict[str, Any]], None]) -> None:
    """Watch the study until it is finished."""
    silent_since = time.monotonic()
    while True:
        try:
            status = ray.get(actor.status.remote(), timeout=5)
            silent_since = time.monotonic()
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError) as error:
            if time.monotonic() - silent_since > 60:  # Ray restarts it within seconds
                raise SweepError(f"the study doesn't answer: {error}") from error
            time.sleep(_POLL_S)
            continue
        show(status)
        if status["error"]:
            raise SweepError(f"the lanes ended with an error:\n{status['error']}")
        if status["finished"]:
            return
        if not thread.is_alive():
            raise SweepError("Ray Tune ended before the sweep did", cure="Look into ray.log.")
        time.sleep(_POLL_S)


def _drain(actor: Any) -> None:
    """Tell the lanes to save, and wait until none holds a run. Every call has a deadline."""
    deadline = time.monotonic() + _DRAIN_S
    try:
        ray.get(actor.interrupt.remote(), timeout=5)
        while time.monotonic() < deadline:
            status = ray.get(actor.status.remote(), timeout=5)
            if not any(lane["held"] for lane in status["lanes"]):
                return
            time.sleep(_POLL_S)
    except (ray.exceptions.RayError, KeyboardInterrupt):
        return  # the last row files are what the sweep goes on from


def _gpus_per_lane(spec: SweepSpec) -> float:
    if spec.lanes.gpus != "auto":
        return float(spec.lanes.gpus)
    return 1.0 if ray.cluster_resources().get("GPU", 0) >= 1 else 0.0


def _lane_count(spec: SweepSpec, gpus: float) -> int:
    """Lanes that fit, or those that the spec wants: what doesn't fit yet waits for nodes."""
    if spec.lanes.count != "auto":
        return int(spec.lanes.count)
    resources = ray.cluster_resources()
    fits = resources.get("GPU", 0) / gpus if gpus else resources.get("CPU", 1)
    runs = plan.size(spec).runs
    return max(1, min(int(fits), runs))


@contextlib.contextmanager
def _cluster(log: Path) -> Iterator[None]:
    """Ray as this process has it, else a cluster of our own; what Ray prints goes into a file."""
    with log.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        if ray.is_initialized():
            yield
            return
        # Without address="local" ray.init would join any cluster that it finds on this machine.
        ray.init(
            address="local",
            namespace=lanes.NAMESPACE,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        try:
            with sigterm_interrupts():  # ray.init has put a handler of its own
                yield
        finally:
            ray.shutdown()
