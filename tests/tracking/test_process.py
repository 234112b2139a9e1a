"""The tracking process: it follows, waits out a missing server, and ends when it should."""

import os
import socket
import sqlite3
import subprocess
import threading
import time
from contextlib import closing

import pytest
import tracked_sweep as ts

from sweeper.errors import SweepError
from sweeper.tracking import opening, process, store
from sweeper.tracking.store import Store, check_reachable, resolve_uri, serve_ui

# MLflow's tables use what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished sweep; it is only copied."""
    return ts.finished(tmp_path_factory)


@pytest.fixture
def folder(finished, tmp_path):
    return ts.copy(finished, tmp_path / "sweeps")


def put_ended(folder, ended):
    database = folder.database()
    database.put_meta(ended=ended)
    database.close()


def recorded(folder):
    return ts.everything(resolve_uri("sqlite", folder.path.parent))


def wait_for(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("finished", "FINISHED"), ("interrupted", "KILLED"), ("failed", "FAILED")],
)
def test_it_ends_as_the_sweep_did(folder, outcome, status):
    put_ended(folder, outcome)
    process.Tracker(folder.path).run()
    found = recorded(folder)
    assert ts.parent(found)["status"] == status
    ranks = [run["metrics"].get("rank") for run in ts.children(found).values()]
    assert (None in ranks) == (outcome != "finished")
    progress = process.read_progress(folder.path)
    assert progress == {"recorded": 6, "told": 6, "lag_s": 0.0, "error": None, "ended": True}


def test_it_goes_on_until_the_end_is_set(folder):
    put_ended(folder, None)
    thread = threading.Thread(target=process.Tracker(folder.path).run, daemon=True)
    thread.start()
    wait_for(lambda: process.read_progress(folder.path)["recorded"] == ts.TRIALS)
    assert ts.parent(recorded(folder))["status"] == "RUNNING"
    assert thread.is_alive()
    put_ended(folder, "finished")
    thread.join(15)
    assert not thread.is_alive()
    assert ts.parent(recorded(folder))["status"] == "FINISHED"


def test_a_resumed_sweep_runs_again(folder):
    process.Tracker(folder.path).run()
    put_ended(folder, None)
    seen = []

    def is_wanted():
        seen.append(ts.parent(recorded(folder))["status"])
        return len(seen) < 4

    process.Tracker(folder.path, is_wanted).run()
    assert seen[-1] == "RUNNING"


def test_an_outage_is_said_and_waited_out(folder, monkeypatch):
    monkeypatch.setattr(process, "_POLL_S", 0.05)
    outages, said = iter([True, True, False]), []

    def make_store(uri):
        if next(outages, False):
            raise ConnectionError("nobody there\nat all")
        return Store(uri)

    def is_wanted():
        said.append(process.read_progress(folder.path))
        return True

    tracker = process.Tracker(folder.path, is_wanted, make_store)
    tracker._delay = 0.1
    tracker.run()
    errors = {progress["error"] for progress in said}
    assert errors == {None, "ConnectionError: nobody there"}
    assert any(p["error"] and p["told"] == ts.TRIALS and p["recorded"] == 0 for p in said)
    assert process.read_progress(folder.path)["ended"]


def test_the_progress_of_a_process_that_never_began(tmp_path):
    nothing = {"recorded": 0, "told": 0, "lag_s": 0.0, "error": None, "ended": False}
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
    put_ended(folder, None)
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
        check_reachable(f"http://user:secret@127.0.0.1:{free_port()}")
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


def test_a_storage_without_records_has_no_ui(tmp_path):
    with pytest.raises(SweepError, match="no sweep is recorded"):
        serve_ui(tmp_path, host="127.0.0.1", port=free_port())


@pytest.fixture
def server(finished, tmp_path):
    """A real MLflow server; skips where it takes too long to start."""
    uri = f"http://127.0.0.1:{free_port()}"
    command = opening.command_line("server", "--port", uri.rpartition(":")[2], "--workers", "1")
    command += ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    # A backup, not a copy of the file: part of it may still be in the write-ahead log.
    with (
        closing(sqlite3.connect(finished.parent / "mlflow.db")) as made,
        closing(sqlite3.connect(tmp_path / "server.db")) as copy,
    ):
        made.backup(copy)
    environment = os.environ | store.SERVER_ENVIRONMENT
    with (tmp_path / "server.log").open("wb") as log:
        running = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                check_reachable(uri)
                break
            except SweepError:
                if time.monotonic() > deadline:
                    pytest.skip("the server takes too long to start")
                time.sleep(0.2)
        yield uri
    finally:
        os.killpg(running.pid, 15)
        running.wait(20)


def test_a_server_gets_the_same(folder, server):
    check_reachable(server)
    ts.project(folder, Store(server))
    first = ts.everything(server)
    ts.project(folder, Store(server))
    assert ts.everything(server) == first
    process.Tracker(folder.path).run()
    local, remote = ts.children(recorded(folder)), ts.children(first)
    assert sorted(local) == sorted(remote) == list(range(ts.TRIALS))
    for number, run in local.items():
        assert (run["params"], run["metrics"]) == (
            remote[number]["params"],
            remote[number]["metrics"],
        )
