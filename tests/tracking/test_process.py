"""The tracking process: it follows, waits out a missing server, and ends when it should."""

import os
import socket
import threading
import time

import pytest
import tracked_sweep as ts

from sweeper.errors import SweepError
from sweeper.tracking import backoff, opening, process, store
from sweeper.tracking.store import Store, check_reachable, resolve_uri
from sweeper.tracking.ui import serve_ui

# MLflow's tables use what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished sweep; it is only copied."""
    return ts.finished(tmp_path_factory)


@pytest.fixture
def folder(finished, tmp_path):
    return ts.copy(finished, tmp_path / "sweeps")


def recorded(folder):
    return ts.everything(resolve_uri("sqlite", folder.path.parent))


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("finished", "FINISHED"), ("interrupted", "KILLED"), ("failed", "FAILED")],
)
def test_it_ends_as_the_sweep_did(folder, outcome, status):
    ts.put_ended(folder, outcome)
    process.Tracker(folder.path).run()
    found = recorded(folder)
    assert ts.parent(found)["status"] == status
    ranks = [run["metrics"].get("rank") for run in ts.children(found).values()]
    assert (None in ranks) == (outcome != "finished")
    progress = process.read_progress(folder.path)
    assert ("recommended" in progress) == (outcome == "finished")
    if outcome == "finished":
        best = progress.pop("recommended")
        assert found[best["run"]]["tags"]["sweeper.trial"] == str(best["trial"])
    whole = {"recorded": 6, "told": 6, "mirrored": None, "lag_s": 0.0, "error": None}
    assert progress == {**whole, "ended": True, "begun": True}


def test_it_goes_on_until_the_end_is_set(folder):
    ts.put_ended(folder, None)
    thread = threading.Thread(target=process.Tracker(folder.path).run, daemon=True)
    thread.start()
    ts.wait_for(lambda: process.read_progress(folder.path)["recorded"] == ts.TRIALS)
    assert ts.parent(recorded(folder))["status"] == "RUNNING"
    assert thread.is_alive()
    ts.put_ended(folder, "finished")
    thread.join(15)
    assert not thread.is_alive()
    assert ts.parent(recorded(folder))["status"] == "FINISHED"


def test_a_resumed_sweep_runs_again(folder):
    process.Tracker(folder.path).run()
    ts.put_ended(folder, None)
    seen = []

    def is_wanted():
        seen.append(ts.parent(recorded(folder))["status"])
        return len(seen) < 4

    process.Tracker(folder.path, is_wanted).run()
    assert seen[-1] == "RUNNING"


def test_an_outage_is_said_and_waited_out(folder, monkeypatch):
    monkeypatch.setattr(process, "_POLL_S", 0.05)
    monkeypatch.setattr(backoff, "FIRST_S", 0.1)
    outages, said = iter([True, True, False]), []

    def make_store(uri):
        if next(outages, False):
            raise ConnectionError("nobody there\nat all")
        return Store(uri)

    def is_wanted():
        said.append(process.read_progress(folder.path))
        return True

    process.Tracker(folder.path, is_wanted, make_store).run()
    errors = {progress["error"] for progress in said}
    assert errors == {None, "ConnectionError: nobody there"}
    assert any(p["error"] and p["told"] == ts.TRIALS and p["recorded"] == 0 for p in said)
    assert process.read_progress(folder.path)["ended"]


def test_the_progress_of_a_process_that_never_began(tmp_path):
    nothing = {"recorded": 0, "told": 0, "mirrored": None, "lag_s": 0.0, "error": None}
    nothing |= {"ended": False, "begun": False}
    assert process.read_progress(tmp_path) == nothing
    (tmp_path / "tracker.json").write_text('{"reco')
    assert process.read_progress(tmp_path) == nothing


def test_a_process_of_its_own_records_and_ends(folder):
    log = folder.path / "tracker.log"
    started = process.start(folder.path, log)
    assert started.wait(60) == 0, log.read_text()
    assert process.read_progress(folder.path)["ended"]
    assert sorted(ts.children(recorded(folder))) == list(range(ts.TRIALS))


def test_it_ends_with_its_parent(folder, monkeypatch):
    ts.put_ended(folder, None)
    with monkeypatch.context() as patch:
        # As if another process had started it, which is gone.
        patch.setattr(os, "getpid", lambda: 2**22 + 1)
        started = process.start(folder.path, folder.path / "tracker.log")
    assert started.wait(30) == 0
    assert not process.read_progress(folder.path)["ended"]


def test_a_database_whose_making_was_cut_off_is_made_again(tmp_path, monkeypatch):
    def cut_off(uri):
        (tmp_path / uri.rpartition("/")[2]).write_text("half a database")
        raise ConnectionError("cut off")

    monkeypatch.setattr(opening, "client", cut_off)
    path = tmp_path / "mlflow.db"
    for _ in range(2):
        with pytest.raises(ConnectionError):
            opening.sqlite(f"sqlite:///{path}", path)
        assert not path.exists()
        assert len(list(tmp_path.glob(".mlflow.db.new-*"))) == 1


def test_a_folder_without_a_sweep_is_a_message(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("SWEEPER_TRACKER_NICE", "0")
    assert process.main(tmp_path) == 2
    assert "there is no sweep" in caplog.text
    assert "there is no sweep" in process.read_progress(tmp_path)["error"]


def test_a_missing_server_is_a_quick_message():
    begun = time.monotonic()
    with pytest.raises(SweepError) as caught:
        check_reachable(f"http://user:secret@127.0.0.1:{ts.free_port()}")
    assert time.monotonic() - begun < 5
    assert caught.value.where == "tracking.uri"
    assert "--set tracking.later=true" in caught.value.cure
    assert "secret" not in str(caught.value)


def test_something_that_is_no_server_is_refused_in_time(monkeypatch):
    monkeypatch.setattr(store, "_ANSWER_S", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begun = time.monotonic()
        with pytest.raises(SweepError):
            check_reachable(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - begun < 3
    check_reachable("sqlite")


def test_no_password_is_said(folder, monkeypatch):
    uri = f"http://user:s%40cret@127.0.0.1:{ts.free_port()}/?password=hidden"
    monkeypatch.setenv("SWEEP_URI", uri)
    ts.with_spec(folder, tracking={"uri": "env:SWEEP_URI"})
    with ts.following(folder):
        ts.wait_for(lambda: ts.progress(folder)["error"])
    said = ts.progress(folder)["error"]
    assert "user:***@127.0.0.1" in said
    assert not any(secret in said for secret in ("s%40cret", "s@cret", "hidden"))


def test_a_storage_without_records_has_no_ui(tmp_path):
    with pytest.raises(SweepError, match="no sweep is recorded"):
        serve_ui(tmp_path, host="127.0.0.1", port=ts.free_port(), say=print)


def test_a_taken_port_is_a_message(folder):
    (folder.path.parent / "mlflow.db").touch()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(SweepError) as caught:
            serve_ui(folder.path.parent, host="127.0.0.1", port=other.getsockname()[1], say=print)
    assert caught.value.where == "--port"
