"""Faults of a sweep on Ray, done for real: killed, hanging, preempted, poisoned, interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from live_sweeps import COMMAND, assert_whole, database, mlflow_children, run, write_spec
from rich.console import Console

import sweeper
from sweeper.lane import trajectories
from sweeper.results.status import status
from sweeper.study.folder import Folder

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(400)
def test_sigkills_of_everything_change_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", "--kills", "6", "--trials", "24"],
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] == {"lane": 2, "study": 1, "tracker": 1, "node": 1, "driver": 1}
    assert (found["lost"], found["duplicates"], found["differing"]) == (0, 0, 0)
    assert found["trials"] == 24


def lanes_of(driver: psutil.Process) -> list[psutil.Process]:
    """The lane processes below a driver with a Ray of its own."""
    found = []
    for one in driver.children(recursive=True):
        try:
            title = " ".join(one.cmdline()[:1])
        except psutil.Error:
            continue
        if title.startswith("ray::ResourceTrainable"):
            found.append(one)
    return found


def wait_for(condition: Callable[[], Any], within_s: float = 60.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)
    return found


def saved_steps(folder: Path) -> int:
    if not (folder / "small" / "sweep.yaml").exists():
        return 0
    with closing(database(folder)) as found:
        return sum(row.step for row in found.runs())


def open_rows(folder: Path) -> list[Any]:
    """Runs that go on in the middle."""
    with closing(database(folder)) as found:
        return [row for row in found.runs() if row.result is None and row.step > 0]


@pytest.mark.timeout(400)
def test_a_preempted_lane_a_hanging_lane_and_an_interrupt_lose_nothing(tmp_path: Path) -> None:
    raw = {"horizon": 12000, "budget": {"trials": 24}, "search": {"sampler": "random"}}
    lanes = {"slots": 8, "count": 2, "save": 1.0, "silence": 4.0}
    path = write_spec(tmp_path, **raw, lanes=lanes)
    process = subprocess.Popen([*COMMAND, "launch", str(path)], stderr=subprocess.PIPE)
    driver, home = psutil.Process(process.pid), Folder(tmp_path / "small")
    try:
        wait_for(lambda: saved_steps(tmp_path) > 0, 90)
        # SIGTERM with notice: the lane saves, leaves, and is started again.
        first, second = wait_for(lambda: len(lanes_of(driver)) == 2 and lanes_of(driver))
        first.send_signal(signal.SIGTERM)
        wait_for(lambda: not first.is_running() or first.status() == psutil.STATUS_ZOMBIE)
        assert status(home)["repeated_steps"] == 0
        # A lane that hangs is taken for dead, ended, and started again.
        wait_for(lambda: len(lanes_of(driver)) == 2)
        second.send_signal(signal.SIGSTOP)
        wait_for(lambda: not second.is_running() or second.status() == psutil.STATUS_ZOMBIE, 30)
        before = saved_steps(tmp_path)
        wait_for(lambda: saved_steps(tmp_path) > before)
        assert status(home)["state"] == "running"
        wait_for(lambda: open_rows(tmp_path))
        # Ctrl-C: rows are saved at once, not after the patience of a drain.
        interrupted = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors.decode()
        assert "sweeper resume small" in errors.decode()
        assert time.monotonic() - interrupted < 40
    finally:
        process.kill()
        process.wait()
    # Every step that the study had heard of is on disk: nothing is to be made again.
    after = status(home)
    assert after["state"] == "interrupted"
    assert saved_steps(tmp_path) >= after["run_steps"] > 0
    rows = open_rows(tmp_path)
    assert all((tmp_path / "small" / str(row.row_file)).exists() for row in rows)
    resumed = run("resume", "small", "--storage", tmp_path, "--local")
    assert resumed.returncode == 0, resumed.stderr
    assert_whole(tmp_path, trials=24, horizon=12000)
    assert len(mlflow_children(tmp_path)) == 24
    assert curves(home).equals(curves(undisturbed(home, tmp_path / "undisturbed")))


def undisturbed(home: Folder, storage: Path) -> Folder:
    """The same sweep, in one process, without any fault."""
    raw = {**home.read_spec().model_dump(mode="json"), "storage": str(storage)}
    return sweeper.launch(raw, local=True, console=Console(quiet=True)).folder


def curves(home: Folder) -> Any:
    with closing(home.database()) as found:
        return trajectories.read(home.storage, found.parts())


POISON = """
import os, sys
from dataclasses import replace
from pathlib import Path
from sweeper.tasks.bundled.perceptron import build as perceptron

COUNT = Path(__file__).with_name("deaths")

def build():
    task = perceptron()

    def init(seed):
        deaths = len(COUNT.read_text()) if COUNT.exists() else 0
        if seed == 13 and deaths < 3:
            COUNT.write_text("x" * (deaths + 1))
            print("this seed kills its process", file=sys.stderr, flush=True)
            os.abort()
        return task.initial(seed).state_dict()

    return replace(task, init=init)
"""


@pytest.mark.timeout(300)
def test_a_run_that_kills_its_lane_is_given_up_and_its_neighbours_are_not(tmp_path: Path) -> None:
    (tmp_path / "poison.py").write_text(POISON)
    lanes = {"slots": 8, "count": 1, "save": 1.0}
    path = write_spec(
        tmp_path, task="poison:build", seeds=[0, 1, 13], budget={"trials": 4}, lanes=lanes
    )
    done = subprocess.run(
        [*COMMAND, "launch", str(path)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    with closing(database(tmp_path)) as found:
        trials = found.trials()
    assert [trial.state for trial in trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert "its lane died 3 times with it" in (trials[0].error or "")
    assert "this seed kills its process" in (trials[0].error or "")
    assert "Fatal Python error: Aborted" in (trials[0].error or "")
    children = {one.data.tags["sweeper.trial"]: one for one in mlflow_children(tmp_path)}
    assert children["0"].info.status == "FAILED"
    assert "its lane died 3 times with it" in children["0"].data.tags["sweeper.error"]
    text = run("status", "small", "--storage", tmp_path).stdout
    assert "Trial 0 was given up" in text
