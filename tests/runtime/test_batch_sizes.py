"""A sweep over batch sizes and arguments of the task, by the real command line."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from live_sweeps import COMMAND, database, mlflow_children, run, write_spec

from sweeper.lane import trajectories
from sweeper.study.folder import Folder

SAMPLES = 1437
CHANGES: dict[str, Any] = {
    "task": "digits",
    "horizon": {"epochs": 8},
    "baseline": {"optimizer": "adam", "lr": 1e-3},
    "space": {
        "lr": {"log_uniform": [1e-4, 1e-2]},
        "batch_size": {"choice": [16, 256]},
        "task_args": {"hidden": {"choice": [8, 16]}},
    },
    "search": {"sampler": "random"},
    "objective": {"metric": "held_out_accuracy", "direction": "maximize"},
    "stress": {"top": 1, "seeds": 1, "neighbours": 0, "budget": 3.0},
    "lanes": {"slots": 4},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    done = run("launch", write_spec(folder, **CHANGES), "--local")
    assert done.returncode == 0, done.stderr
    assert "horizon 8 epochs, 40 to 712 steps" in done.stdout
    assert "batch_size" in done.stdout and "hidden" in done.stdout
    return folder


def test_every_run_has_the_horizon_of_its_batch_size(whole: Path) -> None:
    trials = {trial.number: trial for trial in database(whole).trials()}
    assert all(trial.state == "COMPLETE" for trial in trials.values())
    rows = database(whole).runs()
    seen = set()
    for row in rows:
        config, times = row.run.config, 4 if trials[row.run.trial].origin == "stress" else 1
        size = config["batch_size"]
        seen.add((size, json.dumps(config.get("task_args"))))
        assert row.run.horizon == times * 8 * (SAMPLES // size)
        assert row.result is not None and row.result["steps"] == row.run.horizon
        assert 0.3 < row.result["evaluation"]["held_out_accuracy"] <= 1
    assert (64, "null") in seen  # the baseline, with the task's own
    assert {size for size, _ in seen} == {16, 64, 256}
    assert any(trial.origin == "stress" for trial in trials.values())
    home = Folder(whole / "small")
    losses = trajectories.read(home.storage, home.database().parts())
    assert losses.num_rows == sum(row.run.horizon for row in rows)


def test_the_export_and_mlflow_know_the_batch_size_and_its_horizon(whole: Path) -> None:
    export = json.loads(run("export", "small", "--storage", whole).stdout)
    size = export["config"]["batch_size"]
    assert export["proven"]["searched_horizon"] == 8 * (SAMPLES // size)
    assert export["proven"]["horizon"] == 4 * export["proven"]["searched_horizon"]
    children = mlflow_children(whole)
    assert {float(child.data.metrics["hp.batch_size"]) for child in children} == {16, 64, 256}
    assert any("task_args.hidden" in child.data.params for child in children)


def test_it_is_shown_again_and_another_horizon_is_another_sweep(whole: Path) -> None:
    again = run("launch", write_spec(whole, **CHANGES), "--local")
    assert again.returncode == 0 and "8 epochs" in again.stdout
    other = write_spec(whole, **{**CHANGES, "horizon": {"epochs": 9}})
    refused = run("launch", other, "--local")
    assert refused.returncode == 2 and "with another horizon" in refused.stderr


def test_killed_and_resumed_it_is_what_it_would_have_been(whole: Path, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, **CHANGES, **{"budget": {"trials": 8}})
    process = subprocess.Popen(
        [*COMMAND, "launch", str(spec), "--local"], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (tmp_path / "small" / "sweep.yaml").exists() and any(
            trial.told for trial in database(tmp_path).trials()
        ):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = run("resume", "small", "--storage", tmp_path, "--local")
    assert resumed.returncode == 0, resumed.stderr
    tables = []
    for folder in (whole, tmp_path):
        home = Folder(folder / "small")
        tables.append(trajectories.read(home.storage, home.database().parts()))
    assert tables[0].equals(tables[1])


def test_a_dry_run_says_programs_memory_and_horizon(tmp_path: Path) -> None:
    said = run("launch", write_spec(tmp_path, **CHANGES), "--dry-run").stdout
    assert "horizon 8 epochs, 40 to 712 steps" in said
    assert "programs   4" in said and "MB a slot" in said
    valid = run("validate", write_spec(tmp_path, **CHANGES))
    assert valid.returncode == 0 and "8 trials, 16 runs" in valid.stdout
    bad = write_spec(tmp_path, **{**CHANGES, "baseline": {"batch_size": 1500}})
    for command in (("validate",), ("launch", "--local"), ("launch", "--dry-run")):
        refused = run(command[0], bad, *command[1:])
        assert refused.returncode == 2
        assert "baseline.batch_size: a batch of 1500; allowed: 1 to 1437" in refused.stderr
