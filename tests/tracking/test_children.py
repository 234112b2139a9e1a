"""Sweeps of which only some trials have a run in MLflow: the rest stands in a table."""

import csv
import io
from pathlib import Path

import pytest
import tracked_sweep as ts
from mlflow import MlflowClient

from sweeper.results.tracked import TrackedSweep
from sweeper.spec import check
from sweeper.study.database import BASELINE, COMPLETE, SEARCH, Trial
from sweeper.study.standing import refused, standing
from sweeper.tracking.reading import Reader
from sweeper.tracking.selection import Selection
from sweeper.tracking.store import Store, resolve_uri

# MLflow's tables use what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
GOOD = {"task": "perceptron", "horizon": 100, "space": {"lr": {"log_uniform": [1e-5, 1e-1]}}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return ts.finished(tmp_path_factory)


@pytest.fixture
def folder(finished, tmp_path):
    copied = ts.copy(finished, tmp_path / "sweeps")
    return ts.with_spec(copied, tracking={"children": 1})


def uri_of(folder):
    return resolve_uri("sqlite", folder.path.parent)


def ranking(folder):
    database = folder.database()
    spec = folder.read_spec()
    found = standing(database, spec), {row["trial"] for row in refused(database, spec)}
    database.close()
    return found


def table(folder):
    client = MlflowClient(uri_of(folder))
    parent = next(
        id
        for id, run in ts.everything(uri_of(folder)).items()
        if "sweeper.trial" not in run["tags"]
    )
    text = Path(client.download_artifacts(parent, "trials.csv")).read_text()
    return list(csv.DictReader(io.StringIO(text)))


def test_best_baseline_and_refused_have_runs_and_all_stand_in_the_table(folder):
    ts.project(folder, Store(uri_of(folder)))
    found = ts.everything(uri_of(folder))
    by_trial = ts.children(found)
    ranked, refused = ranking(folder)
    assert {0, ranked[0]["trial"], *refused} <= set(by_trial)
    assert len(by_trial) < ts.TRIALS
    places = {row["trial"]: row["rank"] for row in ranked}
    assert {n: run["metrics"]["rank"] for n, run in by_trial.items()} == {
        n: places[n] for n in by_trial
    }
    (best,) = [n for n, run in by_trial.items() if "sweeper.recommended" in run["tags"]]
    assert best == ranked[0]["trial"]
    rows = table(folder)
    assert [int(row["trial"]) for row in rows] == [row["trial"] for row in ranked]
    for row, expected in zip(rows, ranked, strict=True):
        assert float(row["robust_loss"]) == expected["robust_loss"]
        assert float(row["hp.lr"]) == expected["config"]["lr"]
    assert rows[0]["mark"] == "recommended"
    parent = ts.parent(found)
    assert parent["metrics"]["told"] == ts.TRIALS
    database = folder.database()
    assert parent["metrics"]["run_steps"] == sum(row.step for row in database.runs())
    database.close()


def test_a_replay_changes_nothing(folder):
    ts.project(folder, Store(uri_of(folder)))
    before = ts.everything(uri_of(folder)), table(folder)
    ts.project(folder, Store(uri_of(folder)))
    assert (ts.everything(uri_of(folder)), table(folder)) == before


def test_the_ranks_read_back_are_those_among_all_trials(folder):
    ts.project(folder, Store(uri_of(folder)))
    read = TrackedSweep(Reader(uri_of(folder)).sweep(ts.NAME)).ranking()
    places = {row["trial"]: row["rank"] for row in ranking(folder)[0]}
    assert [(row["trial"], row["rank"]) for row in read] == sorted(
        ((row["trial"], places[row["trial"]]) for row in read), key=lambda one: one[1]
    )


def test_a_trial_that_was_given_up_is_in_the_table_with_its_error(folder):
    ts.give_up(folder, 2, "poison")
    ts.project(folder, Store(uri_of(folder)))
    assert 2 not in ts.children(ts.everything(uri_of(folder)))
    last = table(folder)[-1]
    assert (last["trial"], last["state"], last["error"], last["rank"]) == (
        "2",
        "FAIL",
        "poison",
        "",
    )


@pytest.mark.parametrize(
    ("children", "trials", "most"),
    [("auto", 1000, None), ("auto", 1001, 100), ("all", 5000, None), (7, 5000, 7), (7, 7, None)],
)
def test_how_many_trials_have_a_run(children, trials, most):
    spec = {**GOOD, "name": "x", "budget": {"trials": trials}, "tracking": {"children": children}}
    assert Selection(check(spec)).most == most


def test_while_it_runs_a_trial_that_beats_all_before_gets_a_run():
    spec = {**GOOD, "name": "x", "budget": {"trials": 9}, "tracking": {"children": 2}}
    selection = Selection(check(spec))
    told = [(0.0, -3.0, BASELINE), (1.0, -9.0, SEARCH), (0.0, -2.0, SEARCH), (0.0, -2.0, SEARCH)]
    told += [(0.0, -4.0, SEARCH), (0.5, -8.0, SEARCH), (0.0, -3.5, SEARCH)]
    trials = [
        Trial(n, origin, {}, {}, COMPLETE, {
            "failure_fraction": failed, "violation": failed - 0.5, "robust_loss": loss
        }, n + 1)
        for n, (failed, loss, origin) in enumerate(told)
    ]  # fmt: skip
    assert [t.number for t in trials if selection.takes(t)] == [0, 4]
