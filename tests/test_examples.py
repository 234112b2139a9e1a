"""The examples run as they stand: real sweeps by the real command line, one of them killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sweeper.lane import trajectories
from sweeper.study.folder import Folder

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-c", "from sweeper.cli import main; main()"]
# Row files often, so that there is something to go on from.
SMALL = ("--set", "lanes={save: 0.2}", "--set", "tracking={later: true}")


def run(*arguments: str | Path, timeout_s: float = 200) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=ROOT,
    )


def curves(home: Folder) -> pa.Table:
    with closing(home.database()) as found:
        return trajectories.read(home.storage, found.parts())


@pytest.mark.parametrize(
    ("name", "trials", "horizon"),
    [("plain-torch", 2, 400), ("lightning-loop", 2, 200), ("transformers-loop", 2, 60)],
)
def test_an_example_runs_as_it_stands(
    tmp_path: Path, name: str, trials: int, horizon: int
) -> None:
    spec = f"examples/{name.replace('-', '_')}.yaml"
    sizes = (
        "--set",
        f"budget={{trials: {trials}}}",
        "--set",
        "stress={top: 0}",
        "--set",
        "seeds=1",
    )
    done = run("launch", spec, "--local", "--storage", tmp_path, *sizes, *SMALL)
    assert done.returncode in (0, 1), done.stderr  # 1: nothing that may be recommended
    assert "Traceback" not in done.stderr
    home = Folder(tmp_path / name)
    with closing(home.database()) as found:
        runs = found.runs()
        assert all(trial.state == "COMPLETE" for trial in found.trials())
    table = curves(home)
    for row in runs:
        mine = table.filter(pc.equal(table["run"], row.run.id))
        assert row.result is not None
        assert mine["step"].to_pylist() == list(range(row.result["steps"]))
    assert any(row.result["steps"] == horizon for row in runs)
    assert table["lr"].null_count < len(table)
    if name == "plain-torch":
        assert all(0 <= row.result["evaluation"]["held_out_accuracy"] <= 1 for row in runs)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the sweep of the plain example; whatever is left of it ends with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [*COMMAND, *arguments, "--storage", str(tmp_path)]
        processes.append(
            subprocess.Popen(
                command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=ROOT
            )
        )
        return processes[-1]

    yield start
    for one in processes:
        one.kill()
        one.wait()


SIZES = (
    "--set", "budget={trials: 2}", "--set", "stress={top: 0}", "--set", "search={sampler: random}",
    "--set", "horizon=3000", "--set", "seeds=1",
)  # fmt: skip


def loops_of(process: subprocess.Popen[bytes]) -> list[int]:
    found = []
    for one in psutil.Process(process.pid).children(recursive=True):
        try:
            if any("loop_child" in part for part in one.cmdline()):
                found.append(one.pid)
        except psutil.Error:
            continue
    return found


def await_that(condition: Callable[[], Any], within_s: float = 60.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)
    return found


@pytest.mark.timeout(300)
def test_a_loop_and_its_lane_are_killed_and_nothing_is_lost(
    tmp_path: Path, started: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = started("launch", "examples/plain_torch.yaml", "--local", *SIZES, *SMALL)
    checkpoint = tmp_path / "plain-torch/loops/0/checkpoint.pt"
    await_that(checkpoint.exists)
    first = loops_of(process)
    assert len(first) == 1
    os.kill(first[0], signal.SIGKILL)
    second = await_that(lambda: [pid for pid in loops_of(process) if pid not in first])
    before = checkpoint.stat().st_mtime
    await_that(lambda: checkpoint.stat().st_mtime > before)
    process.kill()
    process.wait()
    await_that(lambda: not psutil.pid_exists(second[0]), 10)
    resumed = run("resume", "plain-torch", "--local", "--storage", tmp_path)
    assert resumed.returncode in (0, 1), resumed.stderr
    other = tmp_path / "undisturbed"
    whole = run(
        "launch", "examples/plain_torch.yaml", "--local", "--storage", other, *SIZES, *SMALL
    )
    assert whole.returncode == resumed.returncode, whole.stderr
    # The loop's batches depend on (seed, step) alone: the same numbers, bit for bit.
    assert curves(Folder(tmp_path / "plain-torch")).equals(curves(Folder(other / "plain-torch")))


@pytest.mark.timeout(300)
def test_an_interrupt_lets_the_loop_save(
    tmp_path: Path, started: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = started("launch", "examples/plain_torch.yaml", "--local", *SIZES, *SMALL)
    await_that((tmp_path / "plain-torch/loops/0/checkpoint.pt").exists)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    with closing(Folder(tmp_path / "plain-torch").database()) as found:
        step = found.runs()[0].step
    assert step > 0
    status = json.loads(
        run("status", "plain-torch", "--storage", tmp_path, "--format", "json").stdout
    )
    assert status["repeated_steps"] == 0


def test_a_dry_run_says_that_nothing_is_measured(tmp_path: Path) -> None:
    done = run("launch", "examples/plain_torch.yaml", "--dry-run", "--storage", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "slots      1 a lane: an own loop trains one run at a time" in done.stdout
    assert "probes     none" in done.stdout


FAILING = """
def train(trial):
    trial.report(0, loss=1.0)
    raise ValueError("no such batch")
"""


def test_a_failing_loop_ends_the_sweep_with_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "my_script.py").write_text(FAILING)
    changes = ("--set", "task=my_script:train", "--set", "task_args={}")
    spec = ROOT / "examples/plain_torch.yaml"
    done = subprocess.run(
        [*COMMAND, "launch", str(spec), "--local", "--storage", str(tmp_path), *changes, *SMALL],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert "Error: task: the loop failed after 1 of 400 steps: ValueError: no such batch" in (
        done.stderr
    )
    assert "my_script.py:4 in train: raise ValueError" in done.stderr
    assert "Traceback" not in done.stderr
