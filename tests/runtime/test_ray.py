"""Sweeps on real Ray Tune lanes."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
from pathlib import Path

import psutil
import pytest
from live_sweeps import COMMAND, assert_whole, database, mlflow_children, run, write_spec
from ray import tune
from test_local import await_told

from sweeper.runtime.lanes import LaneTrainable


@pytest.mark.timeout(300)
@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_two_lanes_train_everything_once_and_search_as_one_process(
    tmp_path: Path, sampler: str
) -> None:
    configs = []
    for name, flags in (("ray", []), ("local", ["--local"])):
        folder = tmp_path / name
        folder.mkdir()
        spec = write_spec(
            folder,
            search={"sampler": sampler},
            budget={"trials": 64},
            lanes={"slots": 8, "count": 2},
            notify={"command": ["cp", "/dev/stdin", str(folder / "notice.json")]},
        )
        done = run("launch", spec, *flags)
        assert done.returncode == 0, done.stderr
        assert ("small: starting Ray lanes" in done.stderr) == (name == "ray")
        assert_whole(folder, trials=64)
        notice = json.loads((folder / "notice.json").read_text())
        assert (notice["state"], notice["trials"]["told"]) == ("finished", 64)
        configs.append([trial.config for trial in database(folder).trials()])
    assert len(mlflow_children(tmp_path / "ray")) == 64
    assert configs[0] == configs[1]
    logs = run("logs", "small", "--storage", tmp_path / "ray", "--lines", "3", "--follow")
    assert logs.returncode == 0, logs.stderr  # it is over: --follow ends
    files = {line.partition(": ")[0] for line in logs.stdout.splitlines()}
    assert "tracker" in files
    log = (tmp_path / "ray" / "small" / "ray.log").read_text()
    assert "Traceback" not in log
    assert "of 64 trials" not in log  # progress is for who waits, not for Ray's log
    assert Path("~/.ray/auth_token").expanduser().stat().st_mode & 0o077 == 0


@pytest.mark.timeout(300)
def test_sigkill_of_the_whole_tree_and_resume(tmp_path: Path) -> None:
    spec = write_spec(
        tmp_path, horizon=4000, budget={"trials": 32}, lanes={"slots": 8, "count": 2}
    )
    process = subprocess.Popen([*COMMAND, "launch", str(spec)], stderr=subprocess.DEVNULL)
    try:
        await_told(process, tmp_path, 12)
    finally:
        kill_tree(process)
    assert 12 <= len(database(tmp_path).trials(told_after=0)) < 32
    resumed = run("resume", "small", "--storage", tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert_whole(tmp_path, trials=32, horizon=4000)
    assert len(mlflow_children(tmp_path)) == 32


def test_a_lane_keeps_its_hands_off_what_tune_keeps_in_it() -> None:
    """A Trainable's own attributes have names like ours; Tune uses them once a lane returns."""

    def names(kind: type) -> set[str]:
        return set(re.findall(r"self\.(_\w+)", inspect.getsource(kind)))

    assert "_storage" in names(tune.Trainable)
    assert not names(LaneTrainable) & names(tune.Trainable)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a driver with Ray, its lanes, the study and the tracker."""
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(tree) > 5
    for one in tree:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


@pytest.mark.timeout(120)
def test_an_error_at_every_lane_start_ends_the_sweep_with_its_message(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, task="lane_breaks:build", lanes={"slots": 4, "count": 1})
    (tmp_path / "lane_breaks.py").write_text(BREAKS_IN_A_LANE)
    done = subprocess.run(
        [*COMMAND, "launch", str(spec)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "the disk of this node is missing" in done.stderr


BREAKS_IN_A_LANE = """
import os
from sweeper.tasks.bundled.perceptron import build as perceptron

def build():
    # Ray sets this in its workers only.
    if "RAY_RAYLET_PID" in os.environ or "RAY_JOB_ID" in os.environ:
        raise RuntimeError("the disk of this node is missing")
    return perceptron()
"""
