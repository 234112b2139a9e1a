"""Sweeps of a metric and of two objectives, by the real command line."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from live_sweeps import assert_whole, mlflow_children, run, write_spec

import sweeper
from sweeper.errors import SweepError
from sweeper.results.sweep import SweepHandle
from sweeper.runtime import variants
from sweeper.spec import check
from sweeper.study.folder import Folder
from sweeper.tasks.task import Task

ACCURACY = {"metric": "held_out_accuracy", "direction": "maximize"}
SPACE = {"lr": {"log_uniform": [1e-5, 1.0]}}
DIGITS: dict[str, Any] = {
    "task": "digits",
    "task_args": {"hidden": 8},
    "horizon": 100,
    "space": SPACE,
    "lanes": {"slots": 8},
}


def broken() -> Task:
    """A task whose evaluate fails."""

    def evaluate(model: object) -> dict[str, float]:
        raise RuntimeError("no data")

    digits = variants.task_name(check({**DIGITS, "name": "a"})).build()
    return Task(model=digits.model, loss=digits.loss, data=digits.data, evaluate=evaluate)


def test_a_metric_is_maximised_and_shown(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, **DIGITS, objective=ACCURACY, search={"sampler": "cmaes"})
    found = run("launch", spec, "--local")
    assert found.returncode == 0, found.stderr
    assert "held_out_accuracy" in found.stdout
    assert_whole(tmp_path, trials=8, horizon=100)
    ranking = SweepHandle(Folder(tmp_path / "small")).ranking()
    rows = [row for row in ranking if row["failure_fraction"] == 0]
    values = [row["objectives"]["held_out_accuracy"] for row in rows]
    assert values[0] == max(values) > min(values)
    assert all("pareto" not in row for row in rows)
    logged = {int(one.data.tags["sweeper.trial"]): one for one in mlflow_children(tmp_path)}
    for row, value in zip(rows, values, strict=True):
        metrics = logged[row["trial"]].data.metrics
        assert metrics["objective.held_out_accuracy"] == value
        assert metrics["held_out_accuracy"] >= value  # the mean over all seeds


def test_a_front_of_two_objectives(tmp_path: Path) -> None:
    objective = [ACCURACY, "robust_loss"]
    spec = write_spec(tmp_path, **DIGITS, objective=objective, search={"sampler": "nsga2"})
    found = run("launch", spec, "--local")
    assert found.returncode == 0, found.stderr
    assert "front" in found.stdout
    rows = SweepHandle(Folder(tmp_path / "small")).ranking()
    front = [row for row in rows if row["pareto"]]
    assert front == rows[: len(front)] != []
    values = [row["objectives"] for row in front]
    for better, worse in pairwise(values):
        assert better["held_out_accuracy"] >= worse["held_out_accuracy"]
        assert better["robust_loss"] >= worse["robust_loss"]
    tagged = [
        int(one.data.tags["sweeper.trial"])
        for one in mlflow_children(tmp_path)
        if one.data.tags.get("sweeper.pareto") == "true"
    ]
    assert sorted(tagged) == sorted(row["trial"] for row in front)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"objective": {"metric": "accuracy", "direction": "maximize"}},
            r"^objective: task 'digits' returns no metric 'accuracy'; "
            r"allowed: held_out_accuracy, held_out_loss, robust_loss\. Did you mean 'held_out_",
        ),
        (
            {"task": "perceptron", "task_args": {}, "objective": ACCURACY},
            r"returns no metric 'held_out_accuracy'; allowed: robust_loss\. Give the task an",
        ),
        (
            {"task": f"{__name__}:broken", "task_args": {}, "objective": ACCURACY},
            r"^task: the task's evaluate fails on an untrained model: RuntimeError: no data",
        ),
    ],
)
def test_a_metric_that_the_task_does_not_return(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    spec = {**DIGITS, "name": "small", "storage": str(tmp_path), **changes}
    with pytest.raises(SweepError, match=message):
        sweeper.launch(spec, local=True)
    assert not (tmp_path / "small").exists()
