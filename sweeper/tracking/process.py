"""The tracking process: follows a sweep's database and records it, at low priority, to its end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeper.errors import SweepError
from sweeper.spec import SweepSpec
from sweeper.study.database import Database
from sweeper.study.folder import Folder, locked
from sweeper.tracking.backoff import Backoff, said, without_password
from sweeper.tracking.mirroring import Mirroring
from sweeper.tracking.projection import Projection
from sweeper.tracking.store import Store, resolve_uri

_LOG = logging.getLogger(__name__)
_POLL_S = 0.5
_BATCH = 10  # trials between two looks at the parent process
_LOCK_S = 20.0
_FILE = "tracker.json"
_PARENT = "SWEEPER_TRACKER_PARENT"
_NICE = "SWEEPER_TRACKER_NICE"


def start(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the tracking process of a sweep; it ends by itself, at the latest with this process.

    Args:
        folder: of the sweep.
        log: gets its messages.
    """
    (folder / _FILE).unlink(missing_ok=True)  # of the process before
    environment = {**os.environ, _PARENT: str(os.getpid())}
    with log.open("ab") as file:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "sweeper.tracking", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            # Ctrl-C is for the driver: what the sweep ended with is still to be recorded.
            start_new_session=True,
        )


def read_progress(folder: Path) -> dict[str, Any]:
    """How far the tracking process is.

    `told` trials, `recorded` of them in MLflow, `mirrored` of them in Optuna's storage (None
    without one), `lag_s` seconds since MLflow had all of them, the `error` that is waited out, and
    whether the sweep has `ended` and everything is there; `begun` once it has said anything. At
    the end `recommended` is the `trial` that is recommended and its `run` in MLflow.
    """
    nothing = {"recorded": 0, "told": 0, "mirrored": None, "lag_s": 0.0, "begun": False}
    nothing |= {"error": None, "ended": False}
    try:
        found = json.loads((folder / _FILE).read_bytes())
    except (OSError, ValueError):
        return nothing
    return {**nothing, **found, "begun": True}


def main(folder: Path) -> int:
    """Record a sweep until it has ended or the parent process has; returns the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    _give_way()
    parent = int(os.environ.get(_PARENT, os.getppid()))
    tracker = Tracker(folder, lambda: os.getppid() == parent)
    try:
        # The tracking process of a driver that was killed may still be on its way out.
        with locked(folder, "tracker.lock", wait_s=_LOCK_S):
            tracker.run()
    except SweepError as error:
        _LOG.error("%s", error)
        tracker.report(error=str(error), force=True)
        return 2
    return 0


def _give_way() -> None:
    """Leave the cores to the lanes: recording may lag, training may not."""
    nice = int(os.environ.get(_NICE, "4"))
    os.nice(nice)
    # Where Linux groups processes by session, nice alone counts within this one only.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")


class Tracker:
    """Follows one sweep.

    Args:
        folder: of the sweep.
        is_wanted: whether somebody still waits for this.
        make_store: opens the store of a tracking URI.
    """

    def __init__(
        self,
        folder: Path,
        is_wanted: Callable[[], bool] = lambda: True,
        make_store: Callable[[str], Store] = Store,
    ) -> None:
        self._folder = Folder(folder)
        self._is_wanted, self._make_store = is_wanted, make_store
        self._recorded = self._told = 0
        self._caught_up = time.monotonic()
        self._reported = float("-inf")
        self._backoff = Backoff()
        self._mirroring: Mirroring | None = None
        self._recommended: dict[str, Any] | None = None

    def run(self) -> None:
        """Record until the sweep has ended and all of it is there, or nobody waits for it."""
        spec = self._folder.read_spec()
        self.report(force=True)
        with contextlib.ExitStack() as stack:
            if spec.search.mirror is not None:
                self._mirroring = stack.enter_context(Mirroring(self._folder, spec))
            self._record(spec)

    def _record(self, spec: SweepSpec) -> None:
        uri = resolve_uri(spec.tracking.uri, self._folder.path.parent)
        database: Database | None = None
        try:
            while self._is_wanted():
                try:
                    database = database or self._folder.database()
                    self._follow(database, Projection(database, spec, self._make_store(uri)))
                    return
                except SweepError:
                    raise
                # Whatever MLflow, a server, a database or a full disk say: no sweep must suffer.
                except Exception as error:
                    delay = self._backoff.next()
                    trace = without_password(traceback.format_exc(), uri)
                    _LOG.error("Recording failed; again in %.0f s\n%s", delay, trace)
                    self._wait(delay, said(error, uri), database)
        finally:
            if database is not None:
                database.close()

    def report(
        self, *, error: str | None = None, ended: bool = False, force: bool = False
    ) -> None:
        """Write the progress where the driver reads it, at most twice a second."""
        now = time.monotonic()
        if self._recorded >= self._told:
            self._caught_up = now
        if not force and now - self._reported < _POLL_S:
            return
        self._reported = now
        mirrored, trouble = None, None
        if self._mirroring is not None:
            mirrored, trouble = self._mirroring.mirrored, self._mirroring.error
        content: dict[str, Any] = {
            "recorded": self._recorded,
            "told": self._told,
            "mirrored": mirrored,
            "lag_s": round(self._lag(), 1),
            "error": error or (trouble and f"search.mirror: {trouble}"),
            "ended": ended,
        }
        if self._recommended is not None:
            content["recommended"] = self._recommended
        aside = self._folder.path / f".{_FILE}"
        # A full disk: the driver reads what was written last, and the next one tells it more.
        with contextlib.suppress(OSError):
            aside.write_text(json.dumps(content), encoding="utf-8")
            aside.replace(self._folder.path / _FILE)

    def _follow(self, database: Database, projection: Projection) -> None:
        while self._is_wanted():
            # Asked first: what was told before the end is then among the trials.
            ended = database.meta("ended")
            if ended is None:
                projection.reopen()
            left = projection.record(_BATCH, lag_s=self._lag())
            self._take(projection)
            self.report()
            if not left and ended is not None:
                projection.finish(ended)
                self._recommended = projection.recommended
                self.report(ended=self._is_mirrored(), force=True)
                return
            if not left:
                time.sleep(_POLL_S)

    def _is_mirrored(self) -> bool:
        """Wait until the mirror, if there is one, has everything; False when nobody waits."""
        while self._mirroring is not None and not self._mirroring.ended:
            if not self._is_wanted():
                return False
            self.report()
            time.sleep(_POLL_S)
        return True

    def _take(self, projection: Projection) -> None:
        """Take over its counts; a new projection counts again, but the driver's only grow."""
        if projection.recorded > self._recorded:
            self._backoff.reset()
        self._recorded = max(self._recorded, projection.recorded)
        self._told = max(self._told, projection.told)

    def _wait(self, delay_s: float, error: str, database: Database | None) -> None:
        until = time.monotonic() + delay_s
        while self._is_wanted() and time.monotonic() < until:
            # The study's database may be what failed.
            with contextlib.suppress(Exception):
                if database is not None:
                    self._told += len(database.trials(told_after=self._told))
            self.report(error=error)
            time.sleep(min(_POLL_S, delay_s))

    def _lag(self) -> float:
        """Seconds since everything told was recorded."""
        return time.monotonic() - self._caught_up if self._recorded < self._told else 0.0
