"""Lanes as Ray Tune trials.

Tune gives placement, retries and elasticity and nothing else: a lane never reports to it. Every
launch or resume is a fresh Tuner, ended by a stopper once the study says that the sweep is over.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import ray
import torch
from ray import tune

from sweeper.errors import SweepError
from sweeper.lane.lane import COMPILING_S, GivenUpError, Lane
from sweeper.lane.memory import use_huge_pages
from sweeper.lane.pack import Machine
from sweeper.lane.protocol import Report
from sweeper.lane.serving import new_identity, serve
from sweeper.lane.settings import LaneSettings
from sweeper.optim.compiler import warm_up
from sweeper.runtime import logs, plan
from sweeper.runtime.lane_count import LaneCount
from sweeper.runtime.study_actor import StudyOverRay
from sweeper.runtime.visibility import SupersededError, Token, check_token, leave_token
from sweeper.spec import SweepSpec
from sweeper.study.folder import Folder
from sweeper.training import machine_for

_LOG_LINES = 40
# Read by the stopper in the thread of Tuner.fit; by reference, so that the stopper can be pickled.
_over = threading.Event()


class LaneTrainable(tune.Trainable):  # type: ignore[misc]
    """One lane, until the study says that the sweep is over.

    A class, since only then the body runs in the main thread, which alone can have a handler of
    SIGTERM: a lane that is preempted saves its rows. It returns at the end: an actor that is still
    in its trainable ends only when Tune's patience does.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        spec: SweepSpec,
        lanes: int,
        device: str,
        folder: str,
        study: str,
        token: Token,
    ) -> None:
        self._spec, self._lanes, self._device = spec, lanes, device
        self._folder, self._port = Folder(Path(folder)), StudyOverRay(study)
        # This machine may not have the folder.
        self._files, self._token = self._folder.storage_of(spec), token
        node = ray.get_runtime_context().get_node_id()
        self._who = new_identity(int(config["lane"]), socket.gethostname(), node)
        self._lane: Lane | None = None
        self._is_preempted = False

    def step(self) -> dict[str, Any]:
        _die_with_parent()
        logs.redirect(self._folder.path, self._who.process)
        torch.set_num_threads(1)
        use_huge_pages()
        try:
            self._serve()
        except (GivenUpError, SupersededError):
            raise
        except SweepError as error:
            self._port.lane_failed(self._who.process, str(error), final=True)
        except Exception:
            tail = traceback.format_exc().splitlines()[-_LOG_LINES:]
            self._port.lane_failed(self._who.process, "\n".join(tail), final=False)
            raise
        if self._is_preempted:
            self._port.sync(Report(who=self._who, leaving=True))  # if no lane has said so yet
            raise RuntimeError("the lane was told to leave by SIGTERM")
        return {"done": True}

    def _serve(self) -> None:
        signal.signal(signal.SIGTERM, self._preempt)
        hello = Report(who=self._who, quiet_s=COMPILING_S)
        if self._port.hello(hello).end:
            return
        check_token(self._files, self._token, self._who.host)
        self._files.prove_writable()
        settings = self._settings()
        if not self._is_preempted:
            port, storage = self._port, self._files
            serve(self._who, settings, port, storage, halve=port.halve, begin=self._begin)

    def _settings(self) -> LaneSettings:
        # Whether there is a compiler is known here, not on the driver's machine.
        machine = self._machine()
        if machine.compiled:
            warm_up(machine.torch_device)  # all lanes at once, while one of them measures
        slots = self._port.slots(lambda: plan.choose_slots(self._spec, self._lanes, machine))
        return plan.lane_settings(self._spec, slots, machine)

    def _machine(self) -> Machine:
        try:
            return machine_for(self._device, self._spec.dtype)
        except SweepError as error:  # Ray counts GPUs, whatever torch can use
            raise SweepError(
                f"Ray gave this lane a GPU of {self._who.host}, where torch finds none: {error}",
                where="lanes.gpus",
                cure="Install torch with CUDA there, or train on the cores: --set lanes.gpus=0",
            ) from error

    def _begin(self, lane: Lane) -> None:
        if lane.who != self._who:
            logs.redirect(self._folder.path, lane.who.process)
        self._lane, self._who = lane, lane.who
        if self._is_preempted:
            lane.leave()

    def _preempt(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._is_preempted = True
        if self._lane is not None:
            self._lane.leave()


class SweepStopper(tune.Stopper):  # type: ignore[misc]
    """Ends the lanes when the sweep is over."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        del trial_id, result
        return False

    def stop_all(self) -> bool:
        return _over.is_set()


def start_lanes(
    folder: Folder, spec: SweepSpec, study: str, *, launch: int, lanes: LaneCount
) -> threading.Thread:
    """Start the lanes; `end_lanes` ends them and the thread.

    Raises:
        SweepError: nothing can be written where the lanes' files are to go.
    """
    _over.clear()
    token = leave_token(folder.storage_of(spec), launch)
    trainable = tune.with_resources(
        tune.with_parameters(
            LaneTrainable,
            spec=spec,
            lanes=lanes.fit,
            device="cuda" if lanes.gpus else "cpu",
            folder=str(folder.path),
            study=study,
            token=token,
        ),
        {"cpu": 1, "gpu": lanes.gpus},
    )
    tuner = tune.Tuner(
        trainable,
        param_space={"lane": tune.grid_search(list(range(lanes.total)))},
        run_config=tune.RunConfig(
            name=f"launch-{launch}",
            storage_path=str(folder.path / "ray"),
            failure_config=tune.FailureConfig(max_failures=-1),
            # By default a class is asked for one when it ends; lanes have row files.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            stop=SweepStopper(),
            verbose=0,
        ),
    )
    thread = threading.Thread(target=tuner.fit, name="tune", daemon=True)
    thread.start()
    return thread


def end_lanes(thread: threading.Thread, *, wait_s: float) -> None:
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
