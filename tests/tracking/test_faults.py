"""What may go wrong beside the tracker: it dies, the study's database is away, the disk full."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import tracked_sweep as ts

from sweeper.study.database import Database, Unavailable
from sweeper.tracking import backoff, mirroring, process
from sweeper.tracking.store import Store, resolve_uri

# MLflow's tables use what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished sweep; it is only copied."""
    return ts.finished(tmp_path_factory)


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory):
    """What a recording has that nothing disturbs."""
    folder = ts.copy(finished, tmp_path_factory.mktemp("whole") / "sweeps")
    ts.project(folder, Store(uri_of(folder)))
    return ts.content(ts.everything(uri_of(folder)))


@pytest.fixture
def folder(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_POLL_S", 0.05)
    monkeypatch.setattr(mirroring, "_POLL_S", 0.05)
    monkeypatch.setattr(backoff, "FIRST_S", 0.05)
    monkeypatch.setattr(backoff, "LONGEST_S", 0.5)
    return ts.copy(finished, tmp_path / "sweeps")


def uri_of(folder):
    return resolve_uri("sqlite", folder.path.parent)


def content_of(folder):
    return ts.content(ts.everything(uri_of(folder)))


def ended(folder):
    return ts.progress(folder)["ended"]


def mirrored(path):
    """The trials of the sweep's only study in a mirror, by what we call them.

    A mirror that dies before it has said whose a new study is leaves it empty: the next one makes
    another.
    """
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    try:
        names = optuna.get_all_study_names(storage)
        studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
        (ours,) = (study for study in studies if "sweeper.sweep_id" in study.user_attrs)
        assert not any(study.trials for study in studies if study.study_name != ours.study_name)
        return [trial.user_attrs["sweeper.trial"] for trial in ours.trials]
    finally:
        storage.remove_session()
        storage.engine.dispose()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [0])
def test_killed_anywhere_and_started_again(folder, whole, seed):
    mirror = folder.path.parent / "optuna.db"
    ts.with_spec(folder, search={"mirror": f"sqlite:///{mirror}"})
    moments = [str(random.Random(seed).randrange(20, 200)) for _ in range(6)]
    script = Path(__file__).with_name("dying_tracker.py")
    done = subprocess.run(
        [sys.executable, script, str(folder.path), *moments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    deaths = done.stdout.count("died at")
    assert deaths >= 4, done.stdout
    assert done.stdout.splitlines()[-1].startswith("ended with 0")
    assert ended(folder)
    assert content_of(folder) == whole
    assert sorted(mirrored(mirror)) == list(range(ts.TRIALS))


def test_a_replay_into_an_empty_store_gives_the_same(folder, whole):
    process.Tracker(folder.path).run()
    assert content_of(folder) == whole
    empty = folder.path.parent / "again" / "mlflow.db"
    empty.parent.mkdir()
    shutil.copy(ts.finished(None).parent / "mlflow.db", empty)
    ts.with_spec(folder, tracking={"uri": f"sqlite:///{empty}"})
    process.Tracker(folder.path).run()
    assert ts.content(ts.everything(f"sqlite:///{empty}")) == whole


def test_the_study_is_written_and_locked_meanwhile(folder, whole):
    tellers = ts.withhold(folder)
    with ts.following(folder):
        for tell in tellers:
            tell()
            time.sleep(0.05)
        with closing(sqlite3.connect(folder.path / "study.db")) as connection:
            connection.execute("BEGIN EXCLUSIVE")  # as a writer that is cut off and rolls back
            connection.execute("UPDATE trials SET told = NULL")
            ts.wait_for(lambda: ts.progress(folder)["recorded"] == ts.TRIALS)
            connection.rollback()
        ts.put_ended(folder, "finished")
        ts.wait_for(lambda: ended(folder))
    assert content_of(folder) == whole


@pytest.mark.parametrize("method", ["meta", "trials", "runs"])
def test_the_study_is_unavailable_for_a_moment(folder, whole, monkeypatch, method):
    real, failures = getattr(Database, method), iter([True, True, False, True])
    said = set()

    def sometimes(self, *args, **kwargs):
        said.add(ts.progress(folder)["error"])
        if next(failures, False):
            raise Unavailable("the server is down")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Database, method, sometimes)
    process.Tracker(folder.path).run()
    assert said == {None, "Unavailable: the server is down"}
    assert content_of(folder) == whole


def test_the_study_is_unavailable_at_first(folder, whole, monkeypatch):
    real, failures = Database.__init__, iter([True, True])

    def later(self, *args, **kwargs):
        if next(failures, False):
            raise Unavailable("the server is down")
        real(self, *args, **kwargs)

    monkeypatch.setattr(Database, "__init__", later)
    process.Tracker(folder.path).run()
    assert content_of(folder) == whole


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_progress(folder, whole):
    aside = folder.path / ".tracker.json"
    aside.symlink_to("/dev/full")  # every write says that no space is left
    process.Tracker(folder.path).run()
    assert content_of(folder) == whole
    assert not (folder.path / "tracker.json").exists()
    aside.unlink()
    process.Tracker(folder.path).run()
    assert json.loads((folder.path / "tracker.json").read_text())["ended"]


def test_a_mirror_that_hangs_keeps_nobody_from_recording(folder, whole, monkeypatch):
    monkeypatch.setattr(mirroring, "_LEAVE_S", 0.1)
    monkeypatch.setattr("sweeper.study.mirror.Mirror.add", lambda *_: time.sleep(3))
    ts.with_spec(folder, search={"mirror": f"sqlite:///{folder.path / 'optuna.db'}"})
    with ts.following(folder):
        ts.wait_for(lambda: ts.progress(folder)["recorded"] == ts.TRIALS)
        ts.wait_for(lambda: content_of(folder)[None]["status"] == "FINISHED")
        assert not ended(folder)
    assert content_of(folder) == whole


def test_a_mirror_that_fails_is_said_and_tried_again(folder, whole):
    mirror = folder.path.parent / "later" / "optuna.db"
    ts.with_spec(folder, search={"mirror": f"sqlite:///{mirror}"})
    with ts.following(folder):
        ts.wait_for(lambda: ts.progress(folder)["error"])
        ts.wait_for(lambda: ts.progress(folder)["recorded"] == ts.TRIALS)
        progress = ts.progress(folder)
        assert progress["error"].startswith("search.mirror: ")
        assert "unable to open database file" in progress["error"]
        assert (progress["mirrored"], progress["ended"]) == (0, False)
        mirror.parent.mkdir()
        ts.wait_for(lambda: ended(folder))
    progress = ts.progress(folder)
    assert (progress["mirrored"], progress["error"]) == (ts.TRIALS, None)
    assert sorted(mirrored(mirror)) == list(range(ts.TRIALS))
    assert content_of(folder) == whole


def test_a_mirror_follows_a_sweep_that_goes_on(folder):
    mirror = folder.path.parent / "optuna.db"
    ts.with_spec(folder, search={"mirror": f"sqlite:///{mirror}"})
    tellers = ts.withhold(folder)
    with ts.following(folder):
        for count, tell in enumerate(tellers, start=1):
            tell()
            ts.wait_for(lambda count=count: ts.progress(folder)["mirrored"] == count)
        assert not ended(folder)
        ts.put_ended(folder, "interrupted")
        ts.wait_for(lambda: ended(folder))
    assert len(mirrored(mirror)) == ts.TRIALS
