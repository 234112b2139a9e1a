"""The catalogue of metrics has what real sweeps have, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from rich.console import Console

import sweeper
from sweeper import metrics
from sweeper.metrics import Metric
from sweeper.results import trajectories
from sweeper.results.sweep import SweepHandle
from sweeper.results.table import ranking_table
from sweeper.study.database import FAIL, PRUNED
from sweeper.tracking import content

# Two objectives, a failing baseline, a stress test with neighbours: everything that can be said.
SPEC: dict[str, Any] = {
    "name": "everything",
    "task": "digits",
    "horizon": 200,
    "seeds": 2,
    "baseline": {"optimizer": "adam", "lr": 10.0},
    "space": {
        "lr": {"log_uniform": [1e-4, 1e-2]},
        "schedule": {"choice": {"constant": {}, "cosine": {"final": {"uniform": [0.0, 1.0]}}}},
    },
    "objective": ["robust_loss", {"metric": "held_out_accuracy", "direction": "maximize"}],
    "search": {"sampler": "qmc"},
    "budget": {"trials": 5},
    "stress": {"top": 1, "seeds": 1, "horizon": "1x", "neighbours": 1, "budget": 4.0},
    "lanes": {"slots": 8},
}
EVALUATION = {"held_out_accuracy", "held_out_loss"}
PARAMS = {"task", "task_args", "horizon", "seeds", "dtype", "sampler", "sampler_seed", "objective"}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> SweepHandle:
    spec = {**SPEC, "storage": str(tmp_path_factory.mktemp("everything"))}
    with pytest.MonkeyPatch.context() as patch, pytest.warns(RuntimeWarning, match="uncompiled"):
        patch.setenv("TORCH_COMPILE_DISABLE", "1")
        return sweeper.launch(spec, local=True, console=Console(quiet=True))


def check(catalogue: Sequence[Metric], keys: Iterable[str]) -> None:
    """Every key is in the catalogue, and every name of the catalogue among the keys."""
    found = set(keys)
    assert {key for key in found if not any(one.names(key) for one in catalogue)} == set()
    assert {one.name for one in catalogue if not any(map(one.names, found))} == set()


def test_names_are_said_once_and_all_that_is_said_is_there() -> None:
    for group in (metrics.TRIAL, metrics.STRESS, metrics.RUN, metrics.SERIES, metrics.TAGS):
        assert len({one.name for one in group}) == len(group)
        assert all(one.meaning for one in group)


def test_rows_of_the_ranking(swept: SweepHandle) -> None:
    keys = {key for row in swept.ranking() for key in row}
    check([*metrics.TRIAL, *metrics.STRESS], keys - EVALUATION)


def test_results_of_the_runs(swept: SweepHandle) -> None:
    with closing(swept.folder.database()) as database:
        check(metrics.RUN, {key for row in database.runs() for key in row.result or {}})


def test_columns_of_the_table(swept: SweepHandle) -> None:
    ranking = swept.ranking()
    shown = {str(column.header) for column in ranking_table(ranking, title="").columns}
    settings = {"lr", "schedule"}
    check(metrics.COLUMNS, shown - settings - EVALUATION)


def test_columns_of_a_trajectory(swept: SweepHandle) -> None:
    check(metrics.SERIES, trajectories.table(swept.folder, 0).column_names)


def test_what_mlflow_has(swept: SweepHandle) -> None:
    client = MlflowClient(f"sqlite:///{swept.folder.path.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(swept.name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if content.TRIAL not in run.data.tags]
    trials = [run for run in runs if content.TRIAL in run.data.tags]
    assert len(parents) == 1
    # A quick sweep may have ended before its health was noted.
    check(metrics.PARENT, {*parents[0].data.metrics, *content.health({})})
    assert set(parents[0].data.params) == PARAMS
    of_rows = {one.name for one in (*metrics.TRIAL, *metrics.STRESS)}
    numbers = {key for run in trials for key in run.data.metrics} - EVALUATION - of_rows
    check([*metrics.TRACKED, *metrics.CURVES], numbers)
    tags = {key for run in runs for key in run.data.tags if key.startswith("sweeper.")}
    # That of the artifacts is there only when they can't be kept.
    check(metrics.TAGS, tags | {content.ARTIFACTS} | tags_of_what_was_given_up(swept))


def tags_of_what_was_given_up(swept: SweepHandle) -> set[str]:
    """Of a trial with an error and of a pruned one, which a healthy sweep doesn't have."""
    with closing(swept.folder.database()) as database:
        trial = database.trials()[0]
        runs = database.runs([trial.number])
    found: set[str] = set()
    for state in (FAIL, PRUNED):
        given_up = replace(trial, state=state, result=None, error="why")
        found |= set(content.child(given_up, runs, "id", "parent", 20).tags)
    return {tag for tag in found if tag.startswith("sweeper.")}


def test_the_page_has_a_row_for_each() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for group in (metrics.TRIAL, metrics.STRESS, metrics.RUN, metrics.SERIES, metrics.TRACKED):
        assert all(f"| `{one.name}` |" in page for one in group)
