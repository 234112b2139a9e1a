"""A sweep in this process, without Ray: for debuggers, tests and small questions."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from sweeper.errors import SweepError
from sweeper.lane.lane import Lane
from sweeper.lane.memory import one_thread
from sweeper.lane.protocol import Answer, Report
from sweeper.lane.serving import new_identity, serve
from sweeper.runtime import plan
from sweeper.runtime.signals import interrupts_at_boundaries
from sweeper.spec import SweepSpec
from sweeper.study.database import Database, Unavailable
from sweeper.study.folder import Folder, locked
from sweeper.study.study import Study
from sweeper.training import machine_for

_LONGEST_DELAY_S = 2.0
_LEAVING_PATIENCE_S = 5.0
_STOP_EVERY_S = 0.2


class LocalStudy:
    """The study as the lane of this process sees it: its database may fail for a while."""

    def __init__(self, study: Study, patience_s: float) -> None:
        self._study, self._patience_s = study, patience_s
        self.leaving = threading.Event()

    def sync(self, report: Report) -> Answer:
        """Raises SweepError when the database has failed for too long."""
        started, delay = time.monotonic(), 0.1
        while True:
            try:
                return self._study.sync(report)
            except Unavailable as error:
                patience_s = _LEAVING_PATIENCE_S if self.leaving.is_set() else self._patience_s
                if time.monotonic() - started > patience_s:
                    raise SweepError(
                        f"the study can't write its database: {error}",
                        where="storage",
                        cure="Mend that, then go on with `sweeper resume`: nothing is lost.",
                    ) from error
            time.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY_S)


def run_local(
    folder: Folder, spec: SweepSpec, launch: int, show: Callable[[dict[str, Any]], None]
) -> None:
    """Train until the sweep is over.

    Args:
        launch: number of this launch.
        show: called with the study's status after every chunk.

    Raises:
        KeyboardInterrupt: row files are written first.
        SweepError: memory, the storage or the database don't suffice.
    """
    database = folder.database()
    with locked(folder.path, "study.lock"), database.lock(wait_s=10), one_thread():
        database.join_launch(launch)
        try:
            _Run(folder, spec, database, launch, show).run()
        finally:
            database.close()


class _Run:
    """One sweep in this process."""

    def __init__(
        self,
        folder: Folder,
        spec: SweepSpec,
        database: Database,
        launch: int,
        show: Callable[[dict[str, Any]], None],
    ) -> None:
        self._folder, self._spec, self._database = folder, spec, database
        self._launch, self._show = launch, show
        self._machine = machine_for(None, spec.dtype)
        self._slots = database.meta("slots") or plan.choose_slots(spec, 1, self._machine)
        database.put_meta(slots=self._slots)
        self._study = Study(database, spec)
        self._port = LocalStudy(self._study, spec.lanes.patience)
        self._lane: Lane | None = None
        self._asked = float("-inf")

    def run(self) -> None:
        who = new_identity(0, f"{socket.gethostname()}:{os.getpid()}")
        settings = plan.lane_settings(self._spec, self._slots["capacity"], self._machine)
        try:
            with interrupts_at_boundaries() as check:

                def on_chunk() -> None:
                    self._show_status()
                    try:
                        self._obey_stop()
                        check()
                    except KeyboardInterrupt:
                        self._hurry()
                        raise

                serve(
                    who,
                    settings,
                    self._port,
                    self._folder.storage_of(self._spec),
                    halve=self._halve,
                    begin=self._begin,
                    on_chunk=on_chunk,
                )
        except KeyboardInterrupt:
            self._hurry()
            if self._lane is not None:
                self._lane.save_all()
            raise
        finally:
            self._show_status()
        if self._study.status()["error"]:
            raise SweepError(self._study.status()["error"])

    def _hurry(self) -> None:
        """Let nothing wait long for a storage or a database that fails."""
        self._study.close()
        self._port.leaving.set()

    def _begin(self, lane: Lane) -> None:
        self._lane = lane

    def _show_status(self) -> None:
        self._show({**self._study.status(), "slots": self._slots, "trouble": ""})

    def _obey_stop(self) -> None:
        """`sweeper stop` is an interrupt from elsewhere."""
        if time.monotonic() - self._asked < _STOP_EVERY_S:
            return
        self._asked = time.monotonic()
        try:
            wants_stop = self._database.meta("stop") == self._launch
        except Unavailable:
            return
        if wants_stop:
            raise KeyboardInterrupt

    def _halve(self, capacity: int, why: str) -> int:
        if capacity == 1:
            raise SweepError(f"not even one run fits into memory: {why}", where="task")
        self._slots = plan.halved(capacity, why)
        self._database.put_meta(slots=self._slots)
        return int(self._slots["capacity"])
