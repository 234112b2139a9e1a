"""Sweeps in one process, from launch to export, interrupted and resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from live_sweeps import COMMAND, SPEC, assert_whole, database, mlflow_children, run, write_spec
from rich.console import Console

import sweeper
from sweeper.lane import trajectories
from sweeper.study.folder import Folder


def test_launch_best_export_and_again(tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    first = run("launch", spec, "--local")
    assert first.returncode == 0, first.stderr
    assert "baseline" in first.stdout
    assert "sweeper ui --storage" in first.stdout
    assert_whole(tmp_path, trials=8)
    assert len(mlflow_children(tmp_path)) == 8
    best = run("best", "small", "--storage", tmp_path, "--format", "json", "--top", "3")
    rows = json.loads(best.stdout)
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert {"trial", "robust_loss", "failure_fraction", "draw_up", "config"} <= set(rows[0])
    again = sweeper.train("perceptron", [rows[0]["config"]], seeds=[0], horizon=20, compiled=False)
    assert np.isfinite(again.loss).all()
    export = json.loads(run("export", "small", "--storage", tmp_path).stdout)
    assert export["config"] == rows[0]["config"]
    assert export["proven"]["horizon"] == 200
    second = run("launch", spec, "--local")
    assert second.returncode == 0
    assert second.stdout == first.stdout


def test_the_python_api_gives_the_same(tmp_path: Path) -> None:
    spec = {**SPEC, "storage": str(tmp_path), "budget": {"trials": 4}}
    handle = sweeper.launch(spec, local=True, console=Console(quiet=True))
    assert [row["rank"] for row in handle.best(4)] == [1, 2, 3, 4]
    assert json.loads(handle.export("json"))["sweep"] == "small"


def test_sigkill_and_resume_give_what_an_uninterrupted_sweep_gives(tmp_path: Path) -> None:
    horizon = 3000
    tables = []
    for name in ("whole", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        spec = write_spec(folder, horizon=horizon)
        if name == "whole":
            assert run("launch", spec, "--local").returncode == 0
        else:
            kill_after_told(folder, spec, told=2)
            resumed = run("resume", "small", "--storage", folder, "--local")
            assert resumed.returncode == 0, resumed.stderr
        assert_whole(folder, trials=8, horizon=horizon)
        assert len(mlflow_children(folder)) == 8
        home = Folder(folder / "small")
        tables.append(trajectories.read(home.storage, home.database().parts()))
    assert tables[0].equals(tables[1])


def start(spec: Path) -> subprocess.Popen[bytes]:
    command = [*COMMAND, "launch", str(spec), "--local"]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def kill_after_told(folder: Path, spec: Path, *, told: int) -> None:
    process = subprocess.Popen(
        [*COMMAND, "launch", str(spec), "--local"], stderr=subprocess.DEVNULL
    )
    try:
        await_told(process, folder, told)
    finally:
        process.kill()
        process.wait()


def await_told(process: subprocess.Popen[bytes], folder: Path, told: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, "the sweep ended before it could be interrupted"
        if (folder / "small" / "sweep.yaml").exists():
            found = database(folder).trials(told_after=0)
            if len(found) >= told:
                return
        time.sleep(0.02)
    raise AssertionError("no progress")


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_the_rows_and_says_how_to_go_on(
    tmp_path: Path, kind: signal.Signals
) -> None:
    spec = write_spec(tmp_path, horizon=8000, budget={"trials": 24})
    process = subprocess.Popen(
        [*COMMAND, "launch", str(spec), "--local"], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    await_told(process, tmp_path, 1)
    time.sleep(0.5)
    process.send_signal(kind)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"sweeper resume small --storage {tmp_path}" in errors.decode()
    rows = [row for row in database(tmp_path).runs() if row.result is None and row.step > 0]
    assert rows
    assert all((tmp_path / "small" / (row.row_file or "none")).exists() for row in rows)


def test_two_launches_at_once_are_refused(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, horizon=8000, budget={"trials": 24})
    process = subprocess.Popen(
        [*COMMAND, "launch", str(spec), "--local"], stderr=subprocess.DEVNULL
    )
    try:
        await_told(process, tmp_path, 1)
        second = run("launch", spec, "--local")
        assert second.returncode == 2
        assert "running already" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        process.kill()
        process.wait()
