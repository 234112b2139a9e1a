"""Results from MLflow alone are those from the folder; filters, orders and comparisons of both."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from small_sweep import swept

from sweeper.cli import cli
from sweeper.errors import SweepError
from sweeper.ranking import POLICIES
from sweeper.results.source import open_sources
from sweeper.results.sweep import SweepHandle
from sweeper.results.tracked import TrackedSweep, read_config
from sweeper.tracking.reading import Reader

OBJECTIVE = [{"metric": "held_out_accuracy", "direction": "maximize"}, "robust_loss"]


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> SweepHandle:
    return swept(tmp_path_factory.mktemp("tracked") / "sweeps")


@pytest.fixture(scope="module")
def several(handle: SweepHandle) -> SweepHandle:
    """A second sweep beside it: two objectives, a batch size, arguments of the task."""
    program = {"batch_size": 32, "task_args": {"hidden": 8}, "no_decay": ["bias"]}
    changes = {
        "name": "several",
        "task": "digits",
        "horizon": 40,
        "space": {"lr": {"log_uniform": [1e-3, 1e-1]}, **program},
        "baseline": {"lr": 1e-3, **program},
        "objective": OBJECTIVE,
        "budget": {"trials": 5},
        "stress": {"top": 0},
    }
    return swept(handle.folder.path.parent, **changes)


def uri(handle: SweepHandle) -> str:
    return f"sqlite:///{handle.folder.path.parent / 'mlflow.db'}"


def tracked(handle: SweepHandle) -> TrackedSweep:
    return TrackedSweep(Reader(uri(handle)).sweep(handle.name))


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """What MLflow has of a row: `steps_to_target` of stress-tested trials alone."""
    dropped = () if "stress_runs" in row else ("steps_to_target",)
    return {key: value for key, value in row.items() if key not in dropped}


@pytest.mark.parametrize("by", POLICIES)
def test_the_ranking_is_that_of_the_folder(handle: SweepHandle, by: str) -> None:
    ranking = tracked(handle).ranking(by)
    assert ranking == [comparable(row) for row in handle.ranking(by)]
    assert any("stress_runs" in row for row in ranking)
    assert [type(row["stable_steps"]) for row in ranking] == [int] * 14


def test_what_is_said_of_a_sweep_is_the_same(handle: SweepHandle, several: SweepHandle) -> None:
    for one in (handle, several):
        found = tracked(one)
        for name in ("name", "finished", "horizon_text", "objectives", "recommended_trial"):
            assert getattr(found, name) == getattr(one, name), name
        assert found.recommended_trial is not None


def test_several_objectives_and_arguments_of_the_task(several: SweepHandle) -> None:
    ranking = several.ranking()
    assert tracked(several).ranking() == [comparable(row) for row in ranking]
    assert [row["config"]["task_args"] for row in ranking] == [{"hidden": 8}] * 5
    assert "pareto" in ranking[0]


def test_an_unfinished_sweep_is_ranked_by_what_mlflow_has(
    handle: SweepHandle, tmp_path: Path
) -> None:
    """Its ranks are of an earlier end; two trials have none."""
    database = tmp_path / "mlflow.db"
    with sqlite3.connect(handle.folder.path.parent / "mlflow.db") as source:
        source.execute("VACUUM INTO ?", (str(database),))
    before = [row["trial"] for row in handle.ranking()]
    with sqlite3.connect(database) as copy:
        copy.execute("UPDATE latest_metrics SET value = 15 - value WHERE key = 'rank'")
    reader = Reader(f"sqlite:///{database}")
    turned = TrackedSweep(reader.sweep("small"))
    assert [row["trial"] for row in turned.ranking()] == before[::-1]
    with sqlite3.connect(database) as copy:
        copy.execute(
            "UPDATE runs SET status = 'RUNNING' WHERE run_uuid IN "
            "(SELECT run_uuid FROM tags WHERE key = 'sweeper.sweep')"
        )
    ranking = TrackedSweep(reader.sweep("small")).ranking()
    assert [row["rank"] for row in ranking] == list(range(1, 15))
    failures = [row["failure_fraction"] for row in ranking]
    assert failures == sorted(failures)
    assert ranking != turned.ranking()


def test_trials_without_a_recorded_rank_fill_the_gaps(handle: SweepHandle) -> None:
    recorded = Reader(uri(handle)).sweep("small")
    whole = [row["trial"] for row in TrackedSweep(recorded).ranking()]
    without = [whole[4], whole[9]]
    for run in recorded.children:
        if int(run.tags["sweeper.trial"]) in without:
            del run.metrics["rank"]  # type: ignore[attr-defined]
    order = [row["trial"] for row in TrackedSweep(recorded).ranking()]
    assert {order[4], order[9]} == set(without)
    assert [t for t in order if t not in without] == [t for t in whole if t not in without]


def test_settings_are_read_back_as_they_were() -> None:
    params = {"optimizer": "adam", "lr": "0.1", "beta1": "0.9", "beta2": "0.99", "eps": "1e-08"}
    params |= {"amsgrad": "true", "no_decay": "['bias']", "schedule.kind": "cosine"}
    params |= {"schedule.warmup.steps": "10", "task_args.tag": "12", "task_args.width": "12"}
    numbers = dict.fromkeys(("lr", "beta1", "beta2", "eps", "schedule.warmup.steps"), 1.0)
    metrics = {f"hp.{key}": value for key, value in numbers.items()} | {"hp.task_args.width": 12.0}
    found = read_config(params, metrics)
    assert (found["betas"], found["eps"], found["amsgrad"]) == ([0.9, 0.99], 1e-8, True)
    assert found["no_decay"] == ["bias"]
    assert found["schedule"]["warmup"] == {"steps": 10}
    assert found["task_args"] == {"tag": "12", "width": 12}
    assert read_config({"optimizer": "of tomorrow", "a.b": "x"}, {})["a"] == {"b": "x"}


# The commands


def call(handle: SweepHandle, *arguments: str, from_mlflow: bool = False) -> Result:
    storage = str(handle.folder.path.parent)
    place = ["--tracking", uri(handle)] if from_mlflow else ["--storage", storage]
    done = CliRunner().invoke(cli, [*arguments, *place])
    if done.exception is not None:
        raise done.exception
    return done


@pytest.mark.parametrize("from_mlflow", [False, True])
def test_best_sorts_and_filters_over_several_sweeps(
    handle: SweepHandle, several: SweepHandle, from_mlflow: bool
) -> None:
    options = ["--sort", "metrics.draw_up DESC, `eps`", "--filter", "failure_fraction < 1"]
    arguments = ["best", "small", "several", "--top", "100", *options]
    done = call(several, *arguments, "--format", "csv", from_mlflow=from_mlflow)
    rows = list(csv.DictReader(io.StringIO(done.output)))
    for one in (handle, several):
        wanted = [row for row in one.ranking() if row["failure_fraction"] < 1]
        wanted.sort(key=lambda row: row["draw_up"], reverse=True)
        shown = [float(row["draw_up"]) for row in rows if row["sweep"] == one.name]
        assert shown == [row["draw_up"] for row in wanted]
    assert "held_out_accuracy" in rows[0]
    done = call(several, *arguments, from_mlflow=from_mlflow)
    assert "several: first 5 of 5 trials by metrics.draw_up DESC" in done.output


@pytest.mark.parametrize("from_mlflow", [False, True])
def test_compare_puts_what_differs_first_and_marks_the_best(
    handle: SweepHandle, from_mlflow: bool
) -> None:
    ranking = handle.ranking()
    best, recommended = ranking[0]["trial"], handle.recommended_trial
    words = f"baseline,{ranking[-1]['trial']},recommended,best"
    done = call(
        handle, "compare", "small", "--trials", words, "--format", "json", from_mlflow=from_mlflow
    )
    rows = json.loads(done.output)
    numbers = [0, ranking[-1]["trial"], recommended, best]
    assert [row["trial"] for row in rows] == list(dict.fromkeys(numbers))
    columns = list(rows[0])
    assert columns[:4] == ["sweep", "trial", "origin", "lr"]
    assert columns.index("eps") < columns.index("robust_loss") < columns.index("amsgrad")
    for name in ("robust_loss", "draw_up", "stable_steps", "failure_fraction"):
        choose = max if name == "stable_steps" else min
        target = choose(row[name] for row in rows)
        for row in rows:
            assert (name in row["best_in"].split()) == (row[name] == target), name
    assert not any("runs" in row["best_in"].split() for row in rows)
    table = call(handle, "compare", "small", "--trials", words, from_mlflow=from_mlflow).output
    assert f"small: {len(rows)} trials" in table
    line = next(one for one in table.splitlines() if "stable_steps" in one)
    assert line.count("*") == sum("stable_steps" in row["best_in"].split() for row in rows)
    assert "the same in all: optimizer adam" in " ".join(table.split())


def test_compare_of_several_sweeps(handle: SweepHandle, several: SweepHandle) -> None:
    done = call(
        several, "compare", "small", "several", "--trials", "several:3,1", "--format", "csv"
    )
    rows = list(csv.DictReader(io.StringIO(done.output)))
    assert [(row["sweep"], row["trial"]) for row in rows] == [
        ("several", "3"),
        ("small", "1"),
        ("several", "1"),
    ]
    assert rows[1]["batch_size"] == ""
    accuracies = [float(row["held_out_accuracy"]) for row in (rows[0], rows[2])]
    assert accuracies[0] != accuracies[1]
    better = rows[0] if accuracies[0] > accuracies[1] else rows[2]
    assert [row for row in rows if "held_out_accuracy" in row["best_in"].split()] == [better]
    runner = CliRunner().invoke(
        cli,
        ["compare", "small", "several", "--format", "parquet", "--tracking", uri(several)],
    )
    table = pq.read_table(io.BytesIO(runner.stdout_bytes))
    default = [handle.recommended_trial, several.recommended_trial, 0, 0]
    assert table["trial"].to_pylist() == default
    assert table["origin"].to_pylist() == ["search", "search", "baseline", "baseline"]


@pytest.mark.parametrize("from_mlflow", [False, True])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["best", "smal"], "Did you mean 'small'?"),
        (
            ["best", "small", "--sort", "draw_u"],
            "--sort: no column 'draw_u'; allowed: sweep, rank",
        ),
        (["best", "small", "--sort", "lr down"], "--sort: can't read 'down'"),
        (["best", "small", "--sort", "lr,"], "--sort: can't read 'lr,'"),
        (["best", "small", "--filter", "draw_u > 1"], "Did you mean 'draw_up'?"),
        (["compare", "small", "--trials", "99"], "sweep 'small' has no trial 99 with results"),
        (["compare", "small", "--trials", "1,,2"], "--trials: '' names no trial"),
        (["compare", "small", "--trials", "baselin"], "Did you mean 'baseline'?"),
        (
            ["compare", "small", "--trials", "large:3"],
            "the sweep 'large' is not among those named",
        ),
    ],
)
def test_what_is_wrong_is_said(
    handle: SweepHandle, arguments: list[str], says: str, from_mlflow: bool
) -> None:
    with pytest.raises(SweepError) as raised:
        call(handle, *arguments, from_mlflow=from_mlflow)
    assert says in str(raised.value)


def test_orders_put_missing_values_last_both_ways(handle: SweepHandle) -> None:
    for direction in ("ASC", "DESC"):
        done = call(
            handle,
            *("best", "small", "--top", "99", "--format", "json"),
            *("--sort", f"schedule.final {direction}, lr desc"),
        )
        rows = [row["config"] for row in json.loads(done.output)]
        finals = [row["schedule"].get("final") for row in rows]
        known = [final for final in finals if final is not None]
        assert 2 <= len(known) < len(rows)
        assert finals[: len(known)] == known
        assert known == sorted(known, reverse=direction == "DESC")
        rates = [row["lr"] for row in rows[len(known) :]]
        assert rates == sorted(rates, reverse=True)


def test_sources_are_opened_once(handle: SweepHandle) -> None:
    found = open_sources(["small", "small"], "nowhere", uri(handle))
    assert [one.name for one in found] == ["small"]
