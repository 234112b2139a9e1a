"""A sweep in this process, without Ray: for debuggers, tests and small questions."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sweeper.lane.lane import Lane
from sweeper.lane.protocol import Identity
from sweeper.runtime import plan
from sweeper.runtime.signals import interrupts_at_boundaries
from sweeper.spec import SweepSpec
from sweeper.study.folder import Folder, locked
from sweeper.study.study import Study
from sweeper.training import machine_for


def run_local(folder: Folder, spec: SweepSpec, show: Callable[[dict[str, Any]], None]) -> None:
    """Train until the sweep is over.

    Args:
        show: called with the study's status after every chunk.

    Raises:
        KeyboardInterrupt: row files are written first.
    """
    database = folder.database()
    machine = machine_for(None, spec.dtype)
    with locked(folder.path, "study.lock"), _one_thread():
        chosen = database.meta("slots")
        if chosen is None:
            chosen = plan.choose_slots(spec, 1, machine)
            database.put_meta(slots=chosen)
        study = Study(database, spec)
        who = Identity(uuid.uuid4().hex[:12], 0, f"{socket.gethostname()}:{os.getpid()}")
        settings = plan.lane_settings(spec, chosen["capacity"], machine)
        lane = Lane(who, settings, study, folder.storage)
        try:
            with interrupts_at_boundaries() as check:

                def on_chunk() -> None:
                    show({**study.status(), "slots": chosen})
                    check()

                lane.run(on_chunk)
        except KeyboardInterrupt:
            lane.save_all()
            raise
        finally:
            show({**study.status(), "slots": chosen})
            database.close()


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread, as every lane has: the same numbers as on Ray."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
