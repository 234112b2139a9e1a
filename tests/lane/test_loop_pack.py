"""Own loops in processes of their own: what they report counts once, whatever is killed when."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import sweeper
from sweeper.errors import SweepError
from sweeper.lane import journal, loop_process
from sweeper.lane.loop_pack import LoopPack, LostRunError
from sweeper.lane.pack import Machine
from sweeper.lane.run import Run
from sweeper.optim.catalog import SERIES
from sweeper.optim.configuration import parse
from sweeper.tasks.registry import TaskName

CONFIG = parse({"lr": 1e-3, "schedule": "cosine"}).to_dict()


@contextmanager
def packed(
    folder: Path, loop: str, args: dict[str, Any] | None = None, **more: Any
) -> Iterator[LoopPack]:
    pack = LoopPack(TaskName(f"loops:{loop}", args or {}), folder, Machine(), **more)
    try:
        yield pack
    finally:
        pack.close()


def train(pack: LoopPack, steps: int, within_s: float = 60.0) -> np.ndarray:
    """Exactly so many steps, `[steps, S]`."""
    parts: list[np.ndarray] = []
    deadline = time.monotonic() + within_s
    while (left := steps - sum(map(len, parts))) > 0:
        assert time.monotonic() < deadline
        parts.append(pack.train(left)[:, :, 0])
    return np.concatenate(parts)


def child(pack: LoopPack) -> int:
    assert pack._child is not None
    return pack._child.pid


def starts(folder: Path) -> list[int]:
    """The steps from which the processes of run 0 went on."""
    return [int(line.split()[0]) for line in (folder / "0/starts").read_text().splitlines()]


def undisturbed(horizon: int) -> np.ndarray:
    found = sweeper.train("digits", [CONFIG], seeds=[3], horizon=horizon, compiled=False)
    return np.asarray(found.loss[0])


def test_a_loop_gives_what_the_same_task_gives(capfd: pytest.CaptureFixture[str]) -> None:
    arguments: Any = {"configs": [CONFIG], "seeds": [0, 1], "horizon": 200}
    loop = sweeper.train("loops:digits", **arguments)
    task = sweeper.train("digits", **arguments, compiled=False)
    # float32, another order of sums, 200 steps.
    np.testing.assert_allclose(loop.loss, task.loss, rtol=1e-4)
    np.testing.assert_allclose(loop.lr, task.lr, rtol=1e-6)
    assert (loop.grad_norm == 2).all()
    assert np.isnan(loop.update_rms).all()
    for mine, theirs in zip(loop.evaluations, task.evaluations, strict=True):
        assert mine.pop("seen") == 199
        assert mine == pytest.approx(theirs, rel=1e-3)


def test_steps_are_made_as_granted_and_handed_out_once(tmp_path: Path) -> None:
    with packed(tmp_path, "digits") as pack:
        assert (pack.free, pack.runs()) == (1, {})
        assert pack.place(Run(0, 0, CONFIG, 3, 100)) == 0
        first = train(pack, 30)
        time.sleep(0.3)  # it waits: nothing more is reported
        assert pack.step_of(0) == pack._reach == 30
        rest = train(pack, 70)
        assert pack.evaluate(0)["seen"] == 99
    found = np.concatenate([first, rest])
    np.testing.assert_allclose(found[:, 0], undisturbed(100), rtol=1e-4)
    sampled = ~np.isnan(found[:, SERIES.index("grad_norm")])
    assert np.flatnonzero(sampled).tolist() == list(range(0, 100, 10))


def test_a_loop_is_killed_and_goes_on_from_an_older_checkpoint(tmp_path: Path) -> None:
    with packed(tmp_path, "digits", {"save_every": 20}) as pack:
        pack.place(Run(0, 0, CONFIG, 3, 100))
        first = train(pack, 50)
        os.kill(child(pack), signal.SIGKILL)
        rest = train(pack, 50)
    np.testing.assert_allclose(np.concatenate([first, rest])[:, 0], undisturbed(100), rtol=1e-4)
    assert starts(tmp_path) == [0, 40]


def test_a_loop_without_checkpoints_repeats_itself(tmp_path: Path) -> None:
    with packed(tmp_path, "digits") as pack:
        pack.place(Run(0, 0, CONFIG, 3, 60))
        first = train(pack, 30)
        os.kill(child(pack), signal.SIGKILL)
        rest = train(pack, 30)
    np.testing.assert_allclose(np.concatenate([first, rest])[:, 0], undisturbed(60), rtol=1e-4)


def test_a_row_that_is_older_than_the_checkpoint_finds_its_steps_in_the_journal(
    tmp_path: Path,
) -> None:
    with packed(tmp_path, "digits", {"save_every": 20}) as pack:
        pack.place(Run(0, 0, CONFIG, 3, 100))
        first = train(pack, 10)
        row = pack.row(0)
        between = train(pack, 45)
    with packed(tmp_path, "digits", {"save_every": 20}) as pack:
        pack.place(Run(0, 0, CONFIG, 3, 100), row)
        assert pack.step_of(0) == 10
        rest = train(pack, 90)
        assert pack.evaluate(0)["seen"] == 99
    assert np.array_equal(between, rest[:45], equal_nan=True)
    found = np.concatenate([first, rest])[:, 0]
    np.testing.assert_allclose(found, undisturbed(100), rtol=1e-4)
    assert starts(tmp_path) == [0, 40]


def test_a_finished_run_whose_lane_died_before_it_was_told_is_not_trained_again(
    tmp_path: Path,
) -> None:
    run = Run(0, 0, CONFIG, 3, 40)
    with packed(tmp_path, "digits", {"save_every": 20}) as pack:
        pack.place(run)
        first = train(pack, 40)
        metrics = pack.evaluate(0)
    with packed(tmp_path, "digits", {"save_every": 20}) as pack:
        pack.place(run)
        assert np.array_equal(train(pack, 40), first, equal_nan=True)
        assert pack.evaluate(0) == metrics
    assert starts(tmp_path) == [0, 40]


def cut(folder: Path, keep: float) -> None:
    path = folder / "0" / journal.NAME
    os.truncate(path, int(path.stat().st_size * keep))


def test_a_journal_that_was_cut_in_the_middle_of_an_entry_is_mended(tmp_path: Path) -> None:
    with packed(tmp_path, "digits") as pack:
        pack.place(Run(0, 0, CONFIG, 3, 60))
        first = train(pack, 20)
        row = pack.row(0)
        train(pack, 10)
    path = tmp_path / "0" / journal.NAME
    os.truncate(path, path.stat().st_size - 5)
    with packed(tmp_path, "digits") as pack:
        pack.place(Run(0, 0, CONFIG, 3, 60), row)
        rest = train(pack, 40)
    np.testing.assert_allclose(np.concatenate([first, rest])[:, 0], undisturbed(60), rtol=1e-4)
    whole = journal.Journal(tmp_path / "0", journal_run(path))
    assert [entry.stop for entry in whole.entries] == list(range(1, 61))


def journal_run(path: Path) -> str:
    found, _ = journal._read(path)
    return str(found[0]["run"])


@pytest.mark.parametrize("keep", [0.0, 0.4])
def test_a_checkpoint_that_is_ahead_of_all_that_is_known_starts_anew(
    tmp_path: Path, keep: float
) -> None:
    run = Run(0, 0, CONFIG, 3, 60)
    with packed(tmp_path, "digits", {"save_every": 20}) as pack:
        pack.place(run)
        first = train(pack, 5)
        row = pack.row(0)
        train(pack, 40)
    cut(tmp_path, keep)
    with packed(tmp_path, "digits", {"save_every": 20}) as pack:
        pack.place(run, row)
        with pytest.raises(LostRunError):
            train(pack, 55)
        pack.remove(0)
        pack.place(run)
        found = train(pack, 60)
    assert starts(tmp_path) == [0]
    assert np.array_equal(found[:5], first, equal_nan=True)
    np.testing.assert_allclose(found[:, 0], undisturbed(60), rtol=1e-4)


def test_the_folder_of_another_run_is_emptied(tmp_path: Path) -> None:
    for seed in (3, 4):
        with packed(tmp_path, "digits", {"save_every": 5}) as pack:
            pack.place(Run(0, 0, CONFIG, seed, 20))
            train(pack, 10)
    assert starts(tmp_path) == [0]


def test_seldom_reports_speak_of_all_steps_since_the_last(tmp_path: Path) -> None:
    with packed(tmp_path, "seldom") as pack:
        pack.place(Run(0, 0, CONFIG, 0, 100))
        first = train(pack, 34)
        os.kill(child(pack), signal.SIGKILL)
        found = np.concatenate([first, train(pack, 66)])[:, 0]
    assert np.array_equal(found, np.repeat(1 / np.arange(10, 101, 10), 10).astype(np.float32))


def test_a_slow_loop_does_not_hold_its_lane(tmp_path: Path) -> None:
    with packed(tmp_path, "slow") as pack:
        pack.place(Run(0, 0, CONFIG, 0, 3))
        calls: list[int] = []
        while sum(calls) < 2:
            calls.append(len(pack.train(10)))
    assert calls.count(0) >= 2  # a step takes longer than the pack's patience


def test_a_run_that_turns_non_finite_ends_there(tmp_path: Path) -> None:
    with packed(tmp_path, "plain", {"last": 6, "value": float("nan")}) as pack:
        pack.place(Run(0, 0, CONFIG, 0, 100))
        found = train(pack, 7)
        assert np.isnan(found[:, 0]).tolist() == [False] * 6 + [True]
        pack.remove(0)
        assert pack.free == 1


def test_a_loop_that_does_not_ask_is_ended_at_its_next_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_process, "_GRACE_S", 3600.0)  # it isn't killed
    with packed(tmp_path, "deaf") as pack:
        pack.place(Run(0, 0, CONFIG, 0, 1000))
        train(pack, 10)
        pack.remove(0)
        pack.place(Run(1, 1, CONFIG, 0, 20))
        train(pack, 20)
    assert (tmp_path / "0/left").read_text() == "10"
    assert (tmp_path / "1/left").read_text() == "20"


def test_a_loop_that_does_not_come_back_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_process, "_GRACE_S", 0.5)
    with packed(tmp_path, "hanging") as pack:
        pack.place(Run(0, 0, CONFIG, 0, 10))
        train(pack, 1)
    assert not psutil.pid_exists(int((tmp_path / "0/pid").read_text()))


def await_file(path: Path) -> None:
    await_that(path.exists)


def await_that(condition: Callable[[], Any], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


LANE = """
import sys
sys.path[:] = {path!r}
from pathlib import Path
from test_loop_pack import CONFIG, packed
from sweeper.lane.run import Run
with packed(Path({folder!r}), "digits", {{"save_every": 20}}) as pack:
    pack.place(Run(0, 0, CONFIG, 3, 400))
    while True:
        pack.train(1)
"""


def test_a_loop_dies_with_its_lane_and_the_next_lane_goes_on(tmp_path: Path) -> None:
    code = LANE.format(path=sys.path, folder=str(tmp_path))
    lane = subprocess.Popen([sys.executable, "-c", code])
    try:
        await_file(tmp_path / "0/checkpoint.pt")
    finally:
        lane.kill()
        lane.wait()
    pid = int((tmp_path / "0/starts").read_text().split()[1])
    with packed(tmp_path, "digits", {"save_every": 20}) as pack:
        pack.place(Run(0, 0, CONFIG, 3, 400))
        found = train(pack, 400)
    assert not psutil.pid_exists(pid)
    np.testing.assert_allclose(found[:, 0], undisturbed(400), rtol=1e-3)
    assert starts(tmp_path)[1] >= 20


def test_two_processes_never_have_one_folder(tmp_path: Path) -> None:
    with packed(tmp_path, "digits") as first:
        first.place(Run(0, 0, CONFIG, 3, 40))
        train(first, 20)
        with packed(tmp_path, "digits") as second:
            second.place(Run(0, 0, CONFIG, 3, 40))
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                assert not len(second.train(40))
            assert starts(tmp_path) == [0]
            first.close()
            assert len(train(second, 40)) == 40


@pytest.mark.parametrize(
    ("loop", "args", "says"),
    [
        ("plain", {"last": 17}, "the loop of loops:plain returned after 18 of 100 steps"),
        (
            "failing",
            {},
            r"failed after 1 of 100 steps: ValueError: no such batch\n  .*loops.py:\d+ in failing",
        ),
        ("dying", {}, "ended with signal SIGKILL, 3 times in a row after 5 of 100 steps"),
        ("wrong", {"kind": "back"}, "step 3 was reported after step 3; allowed: steps that go up"),
        ("wrong", {"kind": "beyond"}, "step 100 was reported of a run of 100 steps; allowed: 0 t"),
        ("wrong", {"kind": "text"}, "loss '0.5' is not a number"),
        ("wrong", {"kind": "many"}, r"loss tensor\(\[1., 1., 1.\]\) is not a number"),
        ("wrong", {"kind": "half"}, "step 4.5; allowed: an int"),
        ("wrong", {"kind": "config"}, "optimizer: unknown .*Did you mean 'adam"),
        ("wrong", {"kind": "returned"}, "the loop returned {'accuracy': 'good'}; allowed: metri"),
    ],
)
def test_a_mistake_of_the_script_is_told(
    tmp_path: Path, loop: str, args: dict[str, Any], says: str
) -> None:
    with packed(tmp_path, loop, args) as pack:
        pack.place(Run(0, 0, CONFIG, 0, 100))
        with pytest.raises(SweepError, match=says):
            train(pack, 100)


def test_a_metric_of_the_objective_must_be_there_at_the_end(tmp_path: Path) -> None:
    with packed(tmp_path, "digits", wanted=["held_out_acuracy"]) as pack:
        pack.place(Run(0, 0, CONFIG, 0, 20))
        train(pack, 10)
        pack.evaluate(0)  # it may still come
        train(pack, 10)
        with pytest.raises(SweepError, match=r"no metric .*Did you mean 'held_out_accuracy'"):
            pack.evaluate(0)


def test_a_loop_is_told_where_it_runs(capfd: pytest.CaptureFixture[str]) -> None:
    sweeper.train("loops:told", [CONFIG], seeds=[5, 5], horizon=2)
    lines = [one.split() for one in capfd.readouterr().out.splitlines() if one.startswith("told")]
    assert lines[0][:3] == ["told", "cpu", "5"]
    assert lines[0][4] == os.getcwd()
    assert lines[0] == lines[1]  # seeded


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (TaskName("loops:plain", {"lost": 3}), "has no argument 'lost'; allowed: last, value"),
        (TaskName("loops:plain", {"trial": 3}), "has no argument 'trial'"),
        (TaskName("loops:wrong", {}), "needs the argument 'kind'"),
        (TaskName("loops:plain", {}, {"batch_size": 4}), "is an own loop, which has no batch_s"),
        (TaskName("loops:plain", {"last": {1}}), "can't be told its arguments"),
    ],
)
def test_arguments_are_checked(task: TaskName, says: str) -> None:
    with pytest.raises(SweepError, match=says):
        sweeper.train(task, [CONFIG], horizon=5)


def test_a_factory_may_return_an_own_loop() -> None:
    found = TaskName("loops:counted", {}).load()
    assert isinstance(found, sweeper.OwnLoop)
    assert found.epoch_steps == 22
    done = sweeper.train("loops:counted", [CONFIG], horizon=30)
    assert np.isfinite(done.loss).all()
    assert json.dumps(done.evaluations)
