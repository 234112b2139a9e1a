"""Helpers of these tests: a small real sweep, and everything that MLflow has of it."""

import shutil
from pathlib import Path

from mlflow import MlflowClient

from sweeper import spec
from sweeper.lane.lane import Lane, LaneSettings
from sweeper.lane.pack import Machine
from sweeper.lane.protocol import Identity
from sweeper.study.folder import Folder
from sweeper.study.study import Study
from sweeper.tasks.registry import TaskName
from sweeper.tracking.projection import Projection
from sweeper.tracking.store import Store, resolve_uri

NAME = "small"
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
        TaskName(wanted.task, {}), 12, Machine(compiled=False), wanted.stability.limits(), 200
    )
    who = Identity(f"lane{trials}", 0, "here")
    Lane(who, settings, Study(database, wanted), folder.storage).run()
    database.put_meta(ended="finished")
    database.close()
    return folder


def copy(finished: Path, storage: Path) -> Folder:
    """A copy of a finished sweep, with MLflow's database beside it where there is one."""
    shutil.copytree(finished.parent, storage)
    return Folder(storage / finished.name)


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


def everything(uri: str) -> dict[str, dict]:
    """Every run of the sweep by id: status, tags, parameters, metrics and their histories."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(NAME)
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
