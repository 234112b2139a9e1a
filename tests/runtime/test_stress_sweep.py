"""A sweep whose tempting settings hold within the horizon and break beyond it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from live_sweeps import database, mlflow_children, run, write_spec
from test_local import await_told, start

from sweeper.lane import trajectories
from sweeper.study.database import STRESS, Trial
from sweeper.study.folder import Folder

# Adam's defaults hold for 1500 steps and break before 6000 (onsets at 2300 to 3400 here); with eps
# of 0.2 and 0.5, above lr times the top eigenvalue over the threshold (0.083), they never break.
CHANGES: dict[str, Any] = {
    "horizon": 1500,
    "seeds": 1,
    "space": {"lr": 1e-3, "eps": {"choice": [1e-8, 1e-6, 0.2, 0.5]}},
    "search": {"sampler": "random"},
    "budget": {"trials": 10},
    "stress": {"top": 2, "seeds": 2, "horizon": "4x", "neighbours": 1, "budget": 9},
}
TRIALS = 10


def stress_trials(folder: Path) -> list[Trial]:
    return [trial for trial in database(folder).trials() if trial.origin == STRESS]


def results_of(folder: Path) -> dict[tuple[int, str | None], Any]:
    """What every setting of the stress test came to."""
    return {
        (t.stress["of"], t.stress["change"]): t.result for t in stress_trials(folder) if t.stress
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of a sweep that ran to its end."""
    folder = tmp_path_factory.mktemp("whole")
    launched = run("launch", write_spec(folder, **CHANGES), "--local")
    assert launched.returncode == 0, launched.stderr
    (folder / "stdout").write_text(launched.stdout)
    return folder


def test_what_breaks_later_is_refused_and_what_holds_recommended(whole: Path) -> None:
    tmp_path, said = whole, (whole / "stdout").read_text()
    found = json.loads(run("export", "small", "--storage", tmp_path).stdout)
    assert found["config"]["eps"] in (0.2, 0.5)
    assert found["proven"]["stress_tested"]
    assert (found["proven"]["horizon"], found["proven"]["searched_horizon"]) == (6000, 1500)
    assert found["proven"]["stress_seeds"] == [1, 2]
    assert found["evidence"]["stress_failure_fraction"] == 0
    assert f"Recommended: trial {found['evidence']['trial']}, held on 2 fresh" in said
    assert len(found["mlflow"].pop("run")) == 32  # known once MLflow has the trial
    assert json.loads((tmp_path / "small" / "recommended.json").read_text()) == found
    # The baseline looked as good as any in the search.
    rows = json.loads(run("best", "small", "--storage", tmp_path, "--format", "json").stdout)
    (baseline,) = [row for row in rows if row["origin"] == "baseline"]
    assert (baseline["failure_fraction"], baseline["stress_failure_fraction"]) == (0, 1)
    assert 1500 < baseline["stress_onset_step"] < 6000
    changes = {t.stress["change"] for t in stress_trials(tmp_path) if t.stress}
    assert changes == {None, "eps x 10", "eps / 10"}
    horizons = {row.run.horizon for row in database(tmp_path).runs()}
    assert horizons == {1500, 6000}
    assert_in_mlflow(tmp_path, found, baseline)
    status = json.loads(run("status", "small", "--storage", tmp_path, "--format", "json").stdout)
    assert (status["told"], status["tests"]) == (TRIALS, status["tests_told"])
    again = run("launch", tmp_path / "spec.yaml", "--local")
    assert again.stdout == said


def assert_in_mlflow(folder: Path, found: dict[str, Any], baseline: dict[str, Any]) -> None:
    children = {int(one.data.tags["sweeper.trial"]): one.data for one in mlflow_children(folder)}
    assert sorted(children) == list(range(TRIALS))
    best = [n for n, one in children.items() if "sweeper.recommended" in one.tags]
    assert best == [found["evidence"]["trial"]]
    assert children[best[0]].metrics["stress_failure_fraction"] == 0
    said = children[baseline["trial"]]
    assert said.metrics["stress_failure_fraction"] == 1
    assert said.metrics["stress_onset_step"] == baseline["stress_onset_step"]
    refused = {row["trial"]: row["reason"] for row in found["refused"]}
    assert refused, "other policies put something first that broke"
    assert all("fresh seeds within 6,000 steps: it climbed" in why for why in refused.values())
    for number, why in refused.items():
        assert children[number].tags["sweeper.refused"] == why


def test_killed_in_the_stress_test_it_goes_on_to_the_same_result(
    whole: Path, tmp_path: Path
) -> None:
    process = start(write_spec(tmp_path, **CHANGES))
    try:
        await_told(process, tmp_path, TRIALS)
        while not stress_trials(tmp_path):
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert any(trial.result is None for trial in stress_trials(tmp_path))
    resumed = run("resume", "small", "--storage", tmp_path, "--local")
    assert resumed.returncode == 0, resumed.stderr
    assert results_of(tmp_path) == results_of(whole)
    assert trajectories_of(tmp_path).equals(trajectories_of(whole))
    # More trials afterwards are searched, and tested where they are better.
    before = results_of(tmp_path)
    more = run("resume", "small", "--storage", tmp_path, "--local", "--add-trials", "3")
    assert more.returncode == 0, more.stderr
    searched = [t.number for t in database(tmp_path).trials() if t.origin != STRESS]
    assert searched == list(range(TRIALS + 3))
    assert before.items() <= results_of(tmp_path).items()


def trajectories_of(folder: Path) -> pa.Table:
    home = Folder(folder / "small")
    return trajectories.read(home.storage, home.database().parts())
