"""What the UI shows of a sweep: its views, its descriptions, its health. Seconds: 9."""

import json
import shutil
from contextlib import closing

import pytest
import tracked_sweep as ts
from mlflow import MlflowClient

from sweeper import spec
from sweeper.tracking import content, notes, views
from sweeper.tracking.projection import Projection
from sweeper.tracking.store import Store, resolve_uri

# MLflow's tables use what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

SPACE = {
    "optimizer": {
        "choice": {
            "adam": {"lr": {"log_uniform": [1e-4, 1.0]}, "amsgrad": {"choice": [False, True]}},
            "sgd": {"lr": {"log_uniform": [1e-3, 1.0]}, "momentum": {"uniform": [0.0, 0.9]}},
        }
    },
    "schedule": {"choice": {"constant": {}, "cosine": {"warmup": {"uniform": [0.0, 0.1]}}}},
}


def wanted(space=SPACE, **more):
    return spec.check(
        {"name": "x", "task": "perceptron", "horizon": 10, "space": space, "seeds": 1}
        | {"budget": {"trials": 2}, "storage": "s"}
        | more
    )


def state(found, view):
    return json.loads(json.loads(found[f"mlflow.sharedViewState.{view}"])["state"])


@pytest.fixture
def folder(tmp_path_factory, tmp_path):
    return ts.copy(ts.finished(tmp_path_factory), tmp_path / "sweeps")


def uri_of(folder):
    return resolve_uri("sqlite", folder.path.parent)


def test_the_columns_are_the_results_the_searched_settings_and_the_marks():
    columns = state(views.tags(wanted()), "ranking")["selectedColumns"]
    assert columns[:2] == ["metrics.`rank`", "metrics.`robust_loss`"]
    settings = [text for text in columns if text.startswith("params.")]
    expected = ["optimizer", "lr", "amsgrad", "momentum", "schedule.kind", "schedule.warmup"]
    assert sorted(settings) == sorted(f"params.`{name}`" for name in expected)
    assert columns[-1] == "tags.`sweeper.refused`"


def test_the_charts_take_what_all_branches_have_and_log10_where_the_scale_is_log():
    shared = {**SPACE, "eps": {"log_uniform": [1e-8, 1.0]}, "beta1": {"uniform": [0.5, 0.9]}}
    shared["optimizer"] = "adam"
    charts = state(views.tags(wanted(shared)), "charts")["compareRunCharts"]
    parallel = charts[0]
    assert (parallel["type"], parallel["runsCountToCompare"]) == ("PARALLEL", 100)
    assert parallel["selectedMetrics"] == [
        "hp.log10_eps",
        "hp.beta1",
        "failure_fraction",
        "robust_loss",
    ]
    assert parallel["selectedParams"] == ["schedule.kind"]
    # Of the branches nothing but their names: runs without a value would be left out.
    (branches, *_) = state(views.tags(wanted()), "charts")["compareRunCharts"]
    assert branches["selectedMetrics"] == ["failure_fraction", "robust_loss"]


def test_of_a_wide_space_ten_settings_are_shown():
    unit = {"uniform": [0.1, 0.9]}
    names = ("lr", "beta1", "beta2", "eps", "weight_decay", "clip_norm")
    kinds = {"cosine": {"warmup": unit, "final": unit}, "step": {"gamma": unit}, "constant": {}}
    wide = {"optimizer": "adam", "amsgrad": {"choice": [False, True]}}
    wide |= dict.fromkeys(names, unit) | {"schedule": {"choice": kinds}}
    found = views.tags(wanted(wide))
    columns = state(found, "ranking")["selectedColumns"]
    assert sum(text.startswith("params.") for text in columns) == 10
    # The longest tag of an experiment that MLflow takes.
    assert all(len(value) <= 5000 for value in found.values())


def test_the_log_of_a_setting_is_drawn(folder):
    ts.project(folder, Store(uri_of(folder)))
    for run in ts.children(ts.everything(uri_of(folder))).values():
        lr = float(run["params"]["lr"])
        assert 10 ** run["metrics"]["hp.log10_lr"] == pytest.approx(lr)
        assert "hp.log10_schedule.warmup" not in run["metrics"]


def test_what_a_user_wrote_stays(folder):
    ts.project(folder, Store(uri_of(folder)))
    client = MlflowClient(uri_of(folder))
    experiment = client.get_experiment_by_name(ts.NAME).experiment_id
    (parent,) = client.search_runs([experiment], 'tags.`sweeper.budget.trials` != ""')
    before = parent.data.tags["mlflow.note.content"]
    assert before.startswith("**Recommended: [#")
    client.set_tag(parent.info.run_id, "mlflow.note.content", "mine")
    client.set_experiment_tag(experiment, "mlflow.note.content", "mine, too")
    ts.project(folder, Store(uri_of(folder)))
    assert client.get_run(parent.info.run_id).data.tags["mlflow.note.content"] == "mine"
    assert client.get_experiment(experiment).tags["mlflow.note.content"] == "mine, too"
    assert notes.is_ours(before)
    assert not notes.is_ours("mine")


def test_the_description_has_a_row_for_every_column_and_fits():
    text = notes.of_experiment("1")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    named = {name.strip("| `") for name, _ in rows}
    assert {
        "rank",
        "robust_loss",
        "draw_up",
        "stress_runs",
        "hp.*",
        "final_loss_mean",
        "lr",
    } <= named
    meanings = {name.strip("| `"): said for name, said in rows}
    # Of one run and over the seeds.
    assert meanings["draw_up"].startswith("decades that the loss climbed above its best; largest")
    assert len(text) < 5000  # of a tag in MLflow


def test_the_sweep_says_what_held_and_why_others_are_refused():
    rows = [row(1, 1e-2), row(2, 1e-3, stress_runs=5, stress_tail_loss=3e-7)]
    runs = {1: "#one", 2: "#two"}
    said = notes.of_sweep(wanted(), rows, rows[1], {1: "climbed | back"}, runs)
    assert said.startswith("**Recommended: [#2 adam lr=1e-3 constant](#two)**, held on 5 fresh")
    assert "tail loss 3e-07 at worst; chosen from 2 trials" in said
    assert "[#1 adam lr=0.01 constant](#one)" in said.splitlines()[-1]
    # A bar would begin a cell.
    assert said.splitlines()[-1].count(" | ") == 1
    nothing = notes.of_sweep(wanted(), rows, None, {}, runs)
    assert nothing == "**Nothing held among 2 trials.**"


def row(trial, lr, **more):
    config = {"optimizer": "adam", "lr": lr, "schedule": {"kind": "constant"}}
    return {"trial": trial, "config": config, "runs": 2, "tail_loss": 1e-6, **more}


def test_the_health_of_lanes():
    lanes = [
        {"capacity": 8, "held": 6, "rate": 100.04},
        {"capacity": 8, "held": 12, "rate": 50.0},  # it holds the next ones already
    ]
    found = content.health({"lanes": lanes})
    assert found == {"lanes": 2, "slot_occupancy": 0.875, "run_steps_per_s": 150.0}
    assert content.health({}) == {"lanes": 0, "slot_occupancy": 0.0, "run_steps_per_s": 0.0}


def test_a_running_sweep_shows_its_health(folder):
    with closing(folder.database()) as database:
        lane = {"name": "a", "capacity": 4, "held": 2, "rate": 7.0}
        database.put_meta(ended=None, health={"lanes": [lane]})
        projection = Projection(database, folder.read_spec(), Store(uri_of(folder)))
        projection._note(1.5)
        metrics = ts.parent(ts.everything(uri_of(folder)))["metrics"]
        assert (metrics["lanes"], metrics["slot_occupancy"]) == (1, 0.5)
        assert (metrics["run_steps_per_s"], metrics["tracker_lag_s"]) == (7.0, 1.5)


def test_artifacts_are_kept_at_a_later_attempt(folder, monkeypatch):
    """Each of them until it arrives, and no more; what arrives gives the next one its patience."""
    waited, sent, send = [], [], Store.attach_file
    fates = {"recommended.json": [OSError("busy")] * 3, "report.html": [RuntimeError("late")] * 6}
    report = folder.path / "report"
    report.mkdir(exist_ok=True)
    (report / "report.html").write_text("<p>")

    def wavering(self, run, file, *place):
        sent.append(file.name)
        if fates.get(file.name):
            raise fates[file.name].pop()
        send(self, run, file, *place)

    monkeypatch.setattr(Store, "attach_file", wavering)
    monkeypatch.setattr("sweeper.tracking.projection.time.sleep", waited.append)
    ts.project(folder, Store(uri_of(folder)))
    assert waited == [0.5, 1, 2, 0.5, 1, 2, 4, 4, 4]
    assert (sent.count("recommended.json"), sent.count("report.html")) == (4, 7)
    assert "sweeper.artifacts" not in ts.parent(ts.everything(uri_of(folder)))["tags"]


def test_artifacts_that_cannot_be_kept_are_said(folder, monkeypatch):
    def refuse(self, run, file, *place):
        raise PermissionError(f"no room for {file.name}")

    monkeypatch.setattr(Store, "attach_file", refuse)
    waited = []
    monkeypatch.setattr("sweeper.tracking.projection.time.sleep", waited.append)
    ts.project(folder, Store(uri_of(folder)))
    assert waited == []  # what is forbidden stays so
    tags = ts.parent(ts.everything(uri_of(folder)))["tags"]
    assert "no room for recommended.json" in tags["sweeper.artifacts"]
    monkeypatch.undo()
    shutil.rmtree(folder.path / "report", ignore_errors=True)
    ts.project(folder, Store(uri_of(folder)))
    assert ts.parent(ts.everything(uri_of(folder)))["tags"]["sweeper.artifacts"] == "kept"
