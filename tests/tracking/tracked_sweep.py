"""Helpers of these tests: a small real sweep, and everything that MLflow has of it."""

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from sweeper import spec
from sweeper.errors import SweepError
from sweeper.lane.lane import Lane
from sweeper.lane.pack import Machine
from sweeper.lane.protocol import Identity
from sweeper.lane.settings import LaneSettings
from sweeper.study.folder import Folder
from sweeper.study.study import Study
from sweeper.tasks.registry import TaskName
from sweeper.tracking import opening, process, store
from sweeper.tracking.projection import Projection
from sweeper.tracking.store import Store, resolve_uri

NAME, ID = "small", "5" * 32
TRIALS = 6
CURVES = ("loss", "grad_norm", "update_rms", "lr")


_made: list[Path] = []


def finished(factory) -> Path:
    """The folder of a finished sweep beside MLflow's empty database, made once."""
    if not _made:
        storage = factory.mktemp("finished")
        _made.append(make(storage).path)
        Store(resolve_uri("sqlite", storage))
    return _made[0]


def make(storage: Path, trials: int = TRIALS) -> Folder:
    """A sweep in a storage, run to its end; one that is there is resumed with more trials."""
    wanted = spec.check(
        {
            "name": NAME,
            "task": "perceptron",
            "horizon": 200,
            "seeds": 2,
            "baseline": {"optimizer": "adam", "lr": 1e-3},
            "space": {
                "optimizer": "adam",
                "lr": {"log_uniform": [1e-4, 10.0]},
                "amsgrad": {"choice": [False, True]},
                "schedule": {"kind": "cosine", "warmup": {"uniform": [0.0, 0.1]}},
            },
            "search": {"sampler": "random"},
            "budget": {"trials": trials},
            "stress": {"top": 0},
            "storage": str(storage),
        }
    )
    folder = Folder(wanted.folder)
    if folder.exists:
        folder.write_spec(wanted)
    else:
        folder.create(wanted)
    database = folder.database()
    settings = LaneSettings(
        TaskName(wanted.task, {}), 12, Machine(compiled=False), wanted.stability.limits()
    )
    who = Identity(f"lane{trials}", 0, "here")
    Lane(who, settings, Study(database, wanted), folder.storage).run()
    database.put_meta(ended="finished", id=ID)
    database.close()
    return folder


def copy(finished: Path, storage: Path) -> Folder:
    """A copy of a finished sweep, with MLflow's database beside it where there is one."""
    shutil.copytree(finished.parent, storage)
    return Folder(storage / finished.name)


def with_spec(folder: Folder, **changes: Any) -> Folder:
    """The folder, its spec changed: `name`, or keys of the tracking and the search."""
    given = folder.read_spec().model_dump(mode="json", exclude={"storage"})
    for key, value in changes.items():
        given[key] = {**given[key], **value} if isinstance(value, dict) else value
    folder.write_spec(spec.check(given))
    return folder


def put_ended(folder: Folder, ended: str | None) -> None:
    """Let the sweep have ended, or run again."""
    database = folder.database()
    database.put_meta(ended=ended)
    database.close()


def change(folder: Folder, query: str, *values: Any) -> list[Any]:
    """Run one statement on the study's database."""
    with closing(sqlite3.connect(folder.path / "study.db", timeout=30)) as connection, connection:
        return connection.execute(query, values).fetchall()


def withhold(folder: Folder) -> list[Callable[[], None]]:
    """Take back the telling of every trial, and the end; returns what tells them, in order."""
    told = change(folder, "SELECT number, state, result, told FROM trials ORDER BY told")
    change(folder, "UPDATE trials SET state = 'RUNNING', result = NULL, told = NULL")
    put_ended(folder, None)

    def teller(number: int, state: str, result: str, place: int) -> Callable[[], None]:
        query = "UPDATE trials SET state = ?, result = ?, told = ? WHERE number = ?"
        return lambda: change(folder, query, state, result, place, number) and None

    return [teller(*row) for row in told]


def give_up(folder: Folder, number: int, error: str) -> None:
    """Let a trial be one that was given up after one of its two runs."""
    query = "UPDATE trials SET state = 'FAIL', result = NULL, error = ? WHERE number = ?"
    change(folder, query, error, number)
    query = "UPDATE runs SET result = NULL, step = 70 WHERE trial = ? AND seed = 1"
    change(folder, query, number)


def prune(folder: Folder, number: int, reason: str) -> None:
    """Let a trial be one that was pruned before its runs had ended."""
    query = "UPDATE trials SET state = 'PRUNED', result = NULL, error = ? WHERE number = ?"
    change(folder, query, reason, number)
    change(folder, "UPDATE runs SET result = NULL, step = 70 WHERE trial = ?", number)


@contextmanager
def following(folder: Folder) -> Iterator[process.Tracker]:
    """A tracker that follows the sweep in a thread, until it has all or the block ends."""
    stop = threading.Event()
    tracker = process.Tracker(folder.path, lambda: not stop.is_set())
    thread = threading.Thread(target=tracker.run, daemon=True)
    thread.start()
    try:
        yield tracker
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def progress(folder: Folder) -> dict[str, Any]:
    return process.read_progress(folder.path)


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A real MLflow server over SQLite, on one port whenever it runs.

    Args:
        place: its folder, with MLflow's database `server.db`.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.uri = place, f"http://127.0.0.1:{free_port()}"
        self._running: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        command = opening.command_line("server", "--port", self.uri.rpartition(":")[2])
        command += ["--workers", "1", "--backend-store-uri"]
        command += [f"sqlite:///{self.place / 'server.db'}"]
        command += ["--artifacts-destination", str(self.place / "artifacts")]
        with (self.place / "server.log").open("ab") as log:
            self._running = subprocess.Popen(
                command,
                cwd=self.place,
                env=os.environ | store.SERVER_ENVIRONMENT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            wait_for(self.answers, 120)

    def answers(self) -> bool:
        with contextlib.suppress(SweepError):
            store.check_reachable(self.uri)
            return True
        return False

    def kill(self) -> None:
        """SIGKILL, its workers too."""
        if self._running is not None:
            os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait(20)
            self._running = None


def project(folder: Folder, store: Store) -> None:
    """Project a whole sweep, as the tracking process does."""
    database = folder.database()
    try:
        projection = Projection(database, folder.read_spec(), store)
        while projection.record(4):
            pass
        projection.finish(database.meta("ended"))
    finally:
        database.close()


def everything(uri: str, name: str = NAME) -> dict[str, dict]:
    """Every run of the sweep by id: status, tags, parameters, metrics and their histories."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        metrics = run.data.metrics
        found[run.info.run_id] = {
            "name": run.info.run_name,
            "status": run.info.status,
            "times": (run.info.start_time, run.info.end_time),
            "tags": run.data.tags,
            "params": run.data.params,
            "metrics": metrics,
            "history": {
                name: [
                    (point.step, point.value, point.timestamp)
                    for point in client.get_metric_history(run.info.run_id, name)
                ]
                for name in metrics
            },
        }
    return found


# Noted while a sweep runs, if anybody looks then.
HEALTH = {"lanes", "slot_occupancy", "run_steps_per_s"}


def content(found: dict[str, dict]) -> dict[Any, dict]:
    """What two recordings of a sweep have alike: all but ids, times and the sweep's name.

    By trial; None is the run of the sweep, without how its progress went.
    """
    trials = {id: run["tags"].get("sweeper.trial") for id, run in found.items()}
    same: dict[Any, dict] = {None: _content(parent(found), trials)}
    for number, run in children(found).items():
        same[number] = _content(run, trials)
        assert trials[run["tags"]["mlflow.parentRunId"]] is None
        same[number]["history"] = {
            name: [(step, value) for step, value, _ in points]
            for name, points in run["history"].items()
        }
    return same


def _content(run: dict, trials: dict[str, str | None]) -> dict:
    tags = {key: value for key, value in run["tags"].items() if key.startswith("sweeper.")}
    tags.pop("sweeper.sweep", None)
    if "sweeper.best" in tags:
        tags["sweeper.best"] = trials[tags["sweeper.best"]]
    is_trial = "sweeper.trial" in tags
    return {
        "name": run["name"] if is_trial else None,
        "status": run["status"],
        "tags": tags,
        "params": run["params"],
        "metrics": {key: one for key, one in run["metrics"].items() if key not in HEALTH},
    }


def children(found: dict[str, dict]) -> dict[int, dict]:
    """The runs of trials by trial; fails where a trial has two."""
    by_trial: dict[int, dict] = {}
    for run in found.values():
        if "sweeper.trial" in run["tags"]:
            number = int(run["tags"]["sweeper.trial"])
            assert number not in by_trial, f"two runs of trial {number}"
            by_trial[number] = run
    return by_trial


def parent(found: dict[str, dict]) -> dict:
    """The run of the sweep."""
    (one,) = [run for run in found.values() if "sweeper.trial" not in run["tags"]]
    return one
