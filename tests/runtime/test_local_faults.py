"""Faults of one process: its storage, its memory, its files; stopped and asked from elsewhere."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from live_sweeps import COMMAND, SPEC, assert_whole, database, mlflow_children, run, write_spec
from rich.console import Console
from test_local import await_told, start

import sweeper
from sweeper.errors import SweepError
from sweeper.lane import trajectories
from sweeper.lane.storage import Storage
from sweeper.runtime.launch import resume
from sweeper.runtime.stop import stop
from sweeper.study.folder import Folder

QUIET = Console(quiet=True)


def spec(folder: Path, **changes: Any) -> dict[str, Any]:
    lanes = {"slots": 8, "save": 0.3, **changes.pop("lanes", {})}
    return {**SPEC, "horizon": 6000, "storage": str(folder), "lanes": lanes, **changes}


def curves(folder: Path) -> pa.Table:
    home = Folder(folder / "small")
    with closing(home.database()) as found:
        return trajectories.read(home.storage, found.parts())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The trajectories of the sweep when nothing fails."""
    folder = tmp_path_factory.mktemp("undisturbed")
    sweeper.launch(spec(folder), local=True, console=QUIET)
    return curves(folder)


def test_a_storage_that_fails_now_and_then_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: pa.Table
) -> None:
    rng, write, failed = random.Random(0), Storage.write, []

    def flaky(self: Storage, path: str, data: bytes) -> None:
        if path.startswith(("rows/", "trajectories/")) and rng.random() < 0.6:
            failed.append(path)
            raise OSError(5, "Input/output error")
        write(self, path, data)

    monkeypatch.setattr(Storage, "write", flaky)
    sweeper.launch(spec(tmp_path), local=True, console=QUIET)
    assert failed
    assert_whole(tmp_path, trials=8, horizon=6000)
    assert curves(tmp_path).equals(undisturbed)


def test_a_storage_that_fails_for_too_long_ends_the_sweep_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: pa.Table
) -> None:
    write, left = Storage.write, [3]

    def broken(self: Storage, path: str, data: bytes) -> None:
        if path.startswith(("rows/", "trajectories/")):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(5, "Input/output error")
        write(self, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write", broken)
        with pytest.raises(SweepError, match=r"can't write .* Input/output error"):
            sweeper.launch(spec(tmp_path, lanes={"patience": 1}), local=True, console=QUIET)
    resume("small", storage=str(tmp_path), local=True, console=QUIET)
    assert_whole(tmp_path, trials=8, horizon=6000)
    assert curves(tmp_path).equals(undisturbed)


def test_a_row_file_that_was_cut_off_costs_its_runs_their_steps_only(
    tmp_path: Path, undisturbed: pa.Table
) -> None:
    broken = start_and_stop(tmp_path, spec(tmp_path))
    for row in broken:
        path = tmp_path / "small" / str(row.row_file)
        if path.exists():
            os.truncate(path, path.stat().st_size - 1)
    # The keys in another order are the same sweep, which goes on as it was begun.
    turned = dict(reversed(SPEC["space"].items()))
    sweeper.launch(spec(tmp_path, space=turned), local=True, console=QUIET)
    assert_whole(tmp_path, trials=8, horizon=6000)
    assert curves(tmp_path).equals(undisturbed)


def start_and_stop(folder: Path, raw: dict[str, Any]) -> list[Any]:
    """Stop a sweep from elsewhere as soon as a row is on disk; returns the open runs with one."""
    path = folder / "spec.json"
    path.write_text(json.dumps(raw))
    process = start(path)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if (folder / "small" / "sweep.yaml").exists():
            with closing(database(folder)) as found:
                if any(row.row_file for row in found.runs()):
                    break
        time.sleep(0.02)
    assert stop(Folder(folder / "small")) == "interrupted"
    assert process.wait(30) == 130
    with closing(database(folder)) as found:
        rows = [row for row in found.runs() if row.row_file is not None]
    assert rows
    return rows


def test_stop_and_status_from_elsewhere(tmp_path: Path) -> None:
    path = write_spec(tmp_path, **spec(tmp_path, horizon=20000, budget={"trials": 16}))
    process = start(path)
    await_told(process, tmp_path, 1)
    found = json.loads(run("status", "small", "--storage", tmp_path, "--format", "json").stdout)
    assert found["state"] == "running"
    assert 1 <= found["told"] < 16
    assert found["lanes"][0]["capacity"] == 8
    assert run("stop", "small", "--storage", tmp_path).returncode == 0
    assert process.wait(30) == 130
    after = run("status", "small", "--storage", tmp_path)
    assert "small: interrupted" in after.stdout
    again = run("stop", "small", "--storage", tmp_path)
    assert again.returncode == 2
    assert "it is interrupted" in again.stderr
    with closing(database(tmp_path)) as found_now:
        rows, health = found_now.runs(), found_now.meta("health")
    # Every step that the study had heard of is on disk.
    assert sum(row.step for row in rows) >= health["run_steps"] > 0
    assert all(row.row_file for row in rows if row.result is None and row.step > 0)


def test_a_killed_sweep_is_lost_to_status_until_it_is_resumed(tmp_path: Path) -> None:
    process = start(write_spec(tmp_path, **spec(tmp_path, horizon=20000)))
    await_told(process, tmp_path, 1)
    process.kill()
    process.wait()
    with closing(database(tmp_path)) as found:
        health = found.meta("health")
        found.put_meta(health={**health, "at": health["at"] - 100}, launched_at=0.0)
    assert "Nobody trains it any more" in run("status", "small", "--storage", tmp_path).stdout


def test_more_trials_for_a_finished_sweep_keep_what_it_has(tmp_path: Path) -> None:
    sweeper.launch(spec(tmp_path, budget={"trials": 4}), local=True, console=QUIET)
    before = {r.data.tags["sweeper.trial"]: r.info.run_id for r in mlflow_children(tmp_path)}
    done = run("resume", "small", "--storage", tmp_path, "--local", "--add-trials", "4")
    assert done.returncode == 0, done.stderr
    assert_whole(tmp_path, trials=8, horizon=6000)
    after = {r.data.tags["sweeper.trial"]: r.info.run_id for r in mlflow_children(tmp_path)}
    assert len(after) == 8
    assert before.items() <= after.items()
    with closing(database(tmp_path)) as found:
        assert len({repr(trial.config) for trial in found.trials()}) == 8


def test_of_two_first_launches_at_once_one_runs(tmp_path: Path) -> None:
    path = write_spec(tmp_path, **spec(tmp_path))
    both = [
        subprocess.Popen([*COMMAND, "launch", str(path), "--local"], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=120)[1].decode() for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], errors
    assert any("running already" in error for error in errors)
    assert_whole(tmp_path, trials=8, horizon=6000)


TOO_LARGE = """
import os, resource
import torch
from torch import nn
from sweeper import Task

def build():
    # What this process has, and room for some runs of 40 MB a tensor, not for 8. Smaller tensors
    # would be cut out of heaps that are not given back.
    pages = int(open("/proc/self/statm").read().split()[5])
    used = pages * resource.getpagesize()
    if "limited" not in os.environ:
        os.environ["limited"] = "1"
        resource.setrlimit(resource.RLIMIT_DATA, (used + 1_500_000_000, -1))
    return Task(
        model=lambda: nn.Linear(10_000_000, 1, bias=False),
        loss=lambda output, target: (output - target).square().mean(),
        data=(torch.full((1, 10_000_000), 1e-8), torch.zeros(1, 1)),
    )
"""


@pytest.mark.timeout(200)
def test_a_pack_too_large_for_memory_is_halved(tmp_path: Path) -> None:
    (tmp_path / "too_large.py").write_text(TOO_LARGE)
    small = {"horizon": 4, "budget": {"trials": 4}, "task": "too_large:build"}
    path = write_spec(tmp_path, **{**spec(tmp_path), **small, "lanes": {"slots": 8}})
    done = subprocess.run(
        [*COMMAND, "launch", str(path), "--local"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "TORCHDYNAMO_DISABLE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert_whole(tmp_path, trials=4, horizon=4)
    with closing(database(tmp_path)) as found:
        slots = found.meta("slots")
    assert slots["capacity"] in (2, 4)
    assert "memory didn't suffice for" in slots["why"]


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[None]:
    """A file system of its own; skips where mounting is not allowed."""
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    mounted = subprocess.run(["mount", *options], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no right to mount a file system here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("is_freed", [True, False])
def test_a_full_disk_is_waited_out_or_ends_the_sweep_with_a_message(
    tmp_path: Path, undisturbed: pa.Table, is_freed: bool
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, 16):
        uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
        raw = spec(disk, tracking={"uri": uri}, lanes={"patience": 60 if is_freed else 2})
        path = tmp_path / "spec.yaml"
        path.write_text(json.dumps(raw))
        process = subprocess.Popen(
            [*COMMAND, "launch", str(path), "--local"], stderr=subprocess.PIPE
        )
        await_told(process, disk, 1)
        fill(disk / "filler")
        time.sleep(3 if is_freed else 0)
        if is_freed:
            assert process.poll() is None
            (disk / "filler").unlink()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == (0 if is_freed else 2), errors.decode()
        if not is_freed:
            assert "sweeper resume" in errors.decode()
            (disk / "filler").unlink()
            resume("small", storage=str(disk), local=True, console=QUIET)
        assert_whole(disk, trials=8, horizon=6000)
        assert curves(disk).equals(undisturbed)


def fill(path: Path) -> None:
    """Take all the room that is left."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
