"""Helpers of the runtime tests: small sweeps run by the real command line."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sweeper.lane import trajectories
from sweeper.study.database import Database
from sweeper.study.folder import Folder

COMMAND = [sys.executable, "-c", "from sweeper.cli import main; main()"]
SPEC: dict[str, Any] = {
    "name": "small",
    "task": "perceptron",
    "horizon": 200,
    "seeds": 2,
    "baseline": {"optimizer": "adam", "lr": 1e-3},
    "space": {
        "lr": {"log_uniform": [1e-5, 1e-1]},
        "eps": {"log_uniform": [1e-10, 1.0]},
        "schedule": {
            "choice": {"constant": {}, "cosine": {"final": {"log_uniform": [1e-3, 1.0]}}}
        },
    },
    "search": {"sampler": "qmc"},
    "budget": {"trials": 8},
    "stress": {"top": 0},
    "lanes": {"slots": 8},
}


def write_spec(folder: Path, **changes: Any) -> Path:
    """A spec file whose sweeps lie in the same folder."""
    path = folder / "spec.yaml"
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump({**SPEC, "storage": str(folder), **changes}, file)
    return path


def run(*arguments: str | Path, timeout: float = 150) -> subprocess.CompletedProcess[str]:
    """Run a sweeper command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def database(folder: Path, name: str = "small") -> Database:
    return Folder(folder / name).database()


def assert_whole(
    folder: Path, *, trials: int, seeds: int = 2, horizon: int = 200, name: str = "small"
) -> None:
    """Every trial told once, every run with one row a step in Parquet, nothing twice."""
    home = Folder(folder / name)
    with closing(home.database()) as found:
        told = found.trials()
        assert sorted(trial.told or 0 for trial in told) == list(range(1, trials + 1))
        table = trajectories.read(home.storage, found.parts())
    runs, steps = table["run"].to_numpy(), table["step"].to_numpy()
    assert len(table) == trials * seeds * horizon
    assert (runs.reshape(-1, horizon) == runs[::horizon, None]).all()
    assert (steps.reshape(-1, horizon) == range(horizon)).all()


def mlflow_children(folder: Path) -> list[Any]:
    """The child runs of the sweep in MLflow."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    return [one for one in runs if "sweeper.trial" in one.data.tags]
