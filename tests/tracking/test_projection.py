"""The projection: what MLflow has afterwards, however often it is replayed."""

import json
import math
import sqlite3
from pathlib import Path

import pytest
import tracked_sweep as ts
from mlflow import MlflowClient

from sweeper.ranking.objective import worst_run
from sweeper.ranking.ranking import rank
from sweeper.study.identity import short_error
from sweeper.tracking import content
from sweeper.tracking import store as store_module
from sweeper.tracking.store import Store, resolve_uri

# MLflow's tables use what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished sweep; it is only copied."""
    return ts.finished(tmp_path_factory)


@pytest.fixture(scope="module")
def recorded(finished, tmp_path_factory):
    """A copy that was projected once; only read."""
    folder = ts.copy(finished, tmp_path_factory.mktemp("recorded") / "sweeps")
    ts.project(folder, Store(uri_of(folder)))
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A fresh copy that was not projected yet."""
    return ts.copy(finished, tmp_path / "sweeps")


def uri_of(folder):
    return resolve_uri("sqlite", folder.path.parent)


def told(folder):
    database = folder.database()
    trials, runs = database.trials(), database.runs()
    database.close()
    return trials, runs


def test_every_trial_has_one_run_below_that_of_the_sweep(recorded):
    found = ts.everything(uri_of(recorded))
    by_trial, parent = ts.children(found), ts.parent(found)
    assert sorted(by_trial) == list(range(ts.TRIALS))
    assert len(found) == ts.TRIALS + 1
    parent_id = next(id for id, run in found.items() if run is parent)
    for run in by_trial.values():
        assert run["status"] == "FINISHED"
        assert run["tags"]["mlflow.parentRunId"] == parent_id


def test_a_run_has_settings_results_and_the_worst_curve(recorded):
    by_trial = ts.children(ts.everything(uri_of(recorded)))
    trials, runs = told(recorded)
    for trial in trials:
        run, config, result = by_trial[trial.number], trial.config, trial.result
        assert float(run["params"]["lr"]) == config["lr"] == run["metrics"]["hp.lr"]
        assert float(run["params"]["beta2"]) == config["betas"][1]
        assert run["params"]["amsgrad"] == str(config["amsgrad"]).lower()
        assert run["params"]["schedule.kind"] == config["schedule"]["kind"]
        for name, value in result.items():
            finite = value is not None and math.isfinite(value)
            assert run["metrics"].get(name) == (value if finite else None)
        rows = [row for row in runs if row.run.trial == trial.number]
        worst = rows[worst_run([row.result for row in rows])]
        assert run["tags"]["sweeper.loss_seed"] == str(worst.run.seed)
        shown = [(step, value) for step, value, _ in run["history"]["loss"]]
        curve = [(row[0], row[1]) for row in worst.result["curve"]]
        assert set(shown) <= set(curve)
        assert (shown[0], shown[-1]) == (curve[0], curve[-1])
        assert len(shown) == min(25, len(curve))
        assert len(run["history"]["update_rms"]) <= 8
        sampled = [row[0] for row in worst.result["curve"] if row[4] is not None]
        shown_lr = [step for step, _, _ in run["history"]["lr"]]
        assert (shown_lr[0], shown_lr[-1]) == (sampled[0], sampled[-1])
        assert len(shown_lr) == min(8, len(sampled))
        assert run["metrics"]["run_steps"] == sum(row.result["steps"] for row in rows)
        assert (run["tags"]["sweeper.stable"] == "true") == (result["failure_fraction"] == 0)
        assert ("sweeper.baseline" in run["tags"]) == (trial.number == 0)
    assert any(run["tags"]["sweeper.stable"] == "false" for run in by_trial.values())
    assert by_trial[0]["name"] == "#0 adam lr=1e-3 eps=1e-8 constant"


def test_the_run_of_the_sweep_has_spec_progress_and_best(recorded):
    found = ts.everything(uri_of(recorded))
    parent, by_trial = ts.parent(found), ts.children(found)
    assert (parent["name"], parent["status"]) == (ts.NAME, "FINISHED")
    assert parent["params"]["horizon"] == "200"
    assert parent["tags"]["sweeper.budget.trials"] == str(ts.TRIALS)
    assert parent["metrics"]["told"] == ts.TRIALS == parent["metrics"]["trials"]
    assert parent["metrics"]["tracker_lag_s"] == 0
    steps = sum(run["metrics"]["run_steps"] for run in by_trial.values())
    assert parent["metrics"]["run_steps"] == steps
    assert found[parent["tags"]["sweeper.best"]]["metrics"]["rank"] == 1


def test_the_order_in_mlflow_is_the_ranking(recorded):
    client = MlflowClient(uri_of(recorded))
    experiment = client.get_experiment_by_name(ts.NAME)
    ranking = rank({"trial": t.number, **t.result} for t in told(recorded)[0])
    order = ["metrics.failure_fraction ASC", "metrics.robust_loss ASC"]
    by_loss = client.search_runs([experiment.experiment_id], "metrics.rank > 0", order_by=order)
    by_rank = client.search_runs(
        [experiment.experiment_id], "metrics.rank > 0", order_by=["metrics.rank ASC"]
    )
    # Trials of equal loss (here those that failed) have their order from `rank` alone.
    assert [losses(run.data.metrics) for run in by_loss] == [losses(row) for row in ranking]
    assert [int(r.data.tags["sweeper.trial"]) for r in by_rank] == [r["trial"] for r in ranking]
    assert [r.data.metrics["rank"] for r in by_rank] == [r["rank"] for r in ranking]


def losses(values):
    return values["failure_fraction"], values["robust_loss"]


def test_the_filters_of_the_description_work(recorded):
    client = MlflowClient(uri_of(recorded))
    experiment = client.get_experiment_by_name(ts.NAME)
    note = experiment.tags["mlflow.note.content"]
    filters = [line.strip("- `") for line in note.splitlines() if line.startswith("- `")]
    assert "metrics.failure_fraction = 0 and metrics.draw_up < 3" in filters
    counts = [len(client.search_runs([experiment.experiment_id], text)) for text in filters]
    good = [t for t in told(recorded)[0] if t.result["failure_fraction"] == 0]
    runs = ts.children(ts.everything(uri_of(recorded))).values()
    refused = sum("sweeper.refused" in run["tags"] for run in runs)
    assert refused > 0
    assert counts == [sum(t.result["draw_up"] < 3 for t in good), ts.TRIALS, 1, 1, refused]
    assert Path(experiment.artifact_location) == recorded.path.parent / "mlartifacts"


def test_the_recommendation_is_at_the_sweep_and_found_by_one_query(folder):
    said = {"config": {"optimizer": "adam"}, "schema": 1}
    (folder.path / "recommended.json").write_text(json.dumps(said))
    (folder.path / "report" / "report.html").write_text("<p>held</p>")
    ts.project(folder, Store(uri_of(folder)))
    client = MlflowClient(uri_of(folder))
    experiment = client.get_experiment_by_name(ts.NAME)
    query = "tags.`sweeper.recommended` = 'true'"
    (child,) = client.search_runs([experiment.experiment_id], query)
    parent = child.data.tags["mlflow.parentRunId"]
    assert json.loads(Path(client.download_artifacts(parent, "recommended.json")).read_text()) == (
        said
    )
    page = Path(client.download_artifacts(parent, "report/report.html"))
    assert page.read_text() == "<p>held</p>"


def test_a_replay_changes_nothing(folder, monkeypatch):
    monkeypatch.setattr(store_module, "_PAGE", 3)  # as if there were many runs
    ts.project(folder, Store(uri_of(folder)))
    before = ts.everything(uri_of(folder))
    ts.project(folder, Store(uri_of(folder)))
    assert ts.everything(uri_of(folder)) == before


def test_a_trial_that_was_given_up_says_why(folder, recorded):
    words = "\n".join(
        ["run 5 (seed 1): its lane died 3 times"] + [f"line {i}" for i in range(200)]
    )
    ts.give_up(folder, 2, words)
    ts.project(folder, Store(uri_of(folder)))
    found = ts.everything(uri_of(folder))
    failed, before = ts.children(found)[2], ts.children(ts.everything(uri_of(recorded)))[2]
    assert failed["status"] == "FAILED"
    assert failed["params"] == before["params"]
    assert (failed["tags"]["sweeper.trial"], failed["tags"]["sweeper.stable"]) == ("2", "false")
    error = failed["tags"]["sweeper.error"]
    assert len(error) <= 500
    assert error.startswith("run 5 (seed 1): its lane died 3 times\n...\nline ")
    assert error.endswith("\nline 199")
    settings = {name for name in before["metrics"] if name.startswith("hp.")}
    assert set(failed["metrics"]) == {*settings, "run_steps"}
    (ended,) = ts.change(folder, "SELECT step FROM runs WHERE trial = 2 AND seed = 0")[0]
    assert failed["metrics"]["run_steps"] == ended + 70
    rest = [run for number, run in ts.children(found).items() if number != 2]
    assert sorted(run["metrics"]["rank"] for run in rest) == list(range(1, ts.TRIALS))
    ts.project(folder, Store(uri_of(folder)))
    assert ts.everything(uri_of(folder)) == found


def test_a_pruned_trial_has_no_results_and_says_why(folder, recorded):
    ts.prune(folder, 2, "pruned at step 50 by median")
    ts.project(folder, Store(uri_of(folder)))
    found = ts.everything(uri_of(folder))
    pruned = ts.children(found)[2]
    assert pruned["status"] == "KILLED"
    assert pruned["tags"]["sweeper.pruned"] == "pruned at step 50 by median"
    assert not {"sweeper.error", "sweeper.stable"} & set(pruned["tags"])
    assert pruned["metrics"]["run_steps"] == 140
    assert {"rank", "robust_loss", "loss"}.isdisjoint(pruned["metrics"])
    ts.project(folder, Store(uri_of(folder)))
    assert ts.everything(uri_of(folder)) == found


def test_a_run_that_ended_otherwise_than_its_trial_is_not_complete(folder, recorded):
    ts.give_up(folder, 2, "poison")
    store = Store(uri_of(folder))
    ts.project(folder, store)
    whole = ts.everything(uri_of(folder))
    for id, run in whole.items():
        if run["tags"].get("sweeper.trial") in ("2", "3"):
            store._client.set_terminated(
                id, "FAILED" if run["status"] == "FINISHED" else "FINISHED"
            )
    ts.project(folder, Store(uri_of(folder)))
    assert ts.content(ts.everything(uri_of(folder))) == ts.content(whole)


def test_all_trials_given_up_have_no_best(folder):
    for number in range(ts.TRIALS):
        ts.give_up(folder, number, "poison")
    ts.project(folder, Store(uri_of(folder)))
    parent = ts.parent(ts.everything(uri_of(folder)))
    assert parent["status"] == "FINISHED"
    assert "sweeper.best" not in parent["tags"]


def test_a_short_error_is_said_whole():
    assert short_error(" one line\n") == "one line"
    assert short_error("x" * 700) == "x" * 150 + "\n...\n" + "x" * 345
    cut = short_error("first\n" + "y" * 600 + "\nlast")
    assert len(cut) == 500
    assert cut.endswith("y\nlast")


class Broken(Store):
    """Raises at the n-th call of a method; before or after it was done."""

    def __init__(self, uri, method, countdown, *, after=False):
        super().__init__(uri)
        real = getattr(self, method)

        def breaking(*args, **kwargs):
            nonlocal countdown
            countdown -= 1
            if countdown == 0 and not after:
                raise ConnectionError("cut off")
            done = real(*args, **kwargs)
            if countdown == 0:
                raise ConnectionError("cut off")
            return done

        setattr(self, method, breaking)


@pytest.mark.parametrize(
    ("method", "countdown", "after"),
    [("log", 3, False), ("end", 2, False), ("create", 4, True), ("log_one", 3, False)],
)
def test_a_crash_anywhere_is_mended_by_a_replay(folder, recorded, method, countdown, after):
    with pytest.raises(ConnectionError):
        ts.project(folder, Broken(uri_of(folder), method, countdown, after=after))
    ts.project(folder, Store(uri_of(folder)))
    mended, whole = ts.everything(uri_of(folder)), ts.everything(uri_of(recorded))
    assert ts.content(mended) == ts.content(whole)


def test_a_late_arrival_leaves_one_run_per_trial(folder):
    store = Store(uri_of(folder))
    create = store.create
    store.create = lambda *args: create(*args) and create(*args)  # the first came through late
    ts.project(folder, store)
    found = ts.everything(uri_of(folder))
    assert sorted(ts.children(found)) == list(range(ts.TRIALS))
    assert ts.parent(found)["status"] == "FINISHED"


def test_a_resumed_sweep_gets_new_ranks(folder):
    ts.project(folder, Store(uri_of(folder)))
    ts.make(folder.path.parent, trials=ts.TRIALS + 2)
    ts.project(folder, Store(uri_of(folder)))
    found = ts.everything(uri_of(folder))
    by_trial = ts.children(found)
    ranking = rank({"trial": t.number, **t.result} for t in told(folder)[0])
    assert len(ranking) == ts.TRIALS + 2
    for row in ranking:
        assert by_trial[row["trial"]]["metrics"]["rank"] == row["rank"]
    assert ts.parent(found)["metrics"]["trials"] == ts.TRIALS + 2
    assert ts.parent(found)["tags"]["sweeper.budget.trials"] == str(ts.TRIALS + 2)


def test_artifacts_have_an_absolute_place(folder, monkeypatch):
    monkeypatch.chdir(folder.path.parent)
    store = Store("sqlite:///mlflow.db")
    experiment = MlflowClient(uri_of(folder)).get_experiment(
        store.experiment("x", lambda id: {"of": id})
    )
    assert Path(experiment.artifact_location) == folder.path.parent / "mlartifacts"


def test_the_database_is_read_while_it_is_written(recorded):
    with sqlite3.connect(recorded.path.parent / "mlflow.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_task_may_name_its_metrics_as_it_likes():
    points = list(content.numbers({"acc (%)": 1.0, "loss": 2.0, "../x//y": 3, "no": None}))
    assert [point.name for point in points] == ["acc ___", "task.loss", "x/y"]
    assert not list(content.numbers({"a": math.inf, "b": math.nan, "c": True, "d": "1"}))
