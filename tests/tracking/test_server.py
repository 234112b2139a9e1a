"""A real MLflow server: it gets the same as a database, though it is killed, fails, cuts off."""

import http.client
import random
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import tracked_sweep as ts

from sweeper.tracking import backoff, process, projection
from sweeper.tracking.store import Store, check_reachable, resolve_uri

pytestmark = [
    # MLflow's tables use what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished sweep; it is only copied."""
    return ts.finished(tmp_path_factory)


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory):
    """What a recording has that nothing disturbs."""
    folder = ts.copy(finished, tmp_path_factory.mktemp("whole") / "sweeps")
    uri = resolve_uri("sqlite", folder.path.parent)
    ts.project(folder, Store(uri))
    return ts.content(ts.everything(uri))


@pytest.fixture(scope="module")
def server(finished, tmp_path_factory):
    """A server that runs when a test begins; every test has an experiment of its own in it."""
    place = tmp_path_factory.mktemp("server")
    # A backup, not a copy of the file: part of it may still be in the write-ahead log.
    with (
        closing(sqlite3.connect(finished.parent / "mlflow.db")) as made,
        closing(sqlite3.connect(place / "server.db")) as copy,
    ):
        made.backup(copy)
    server = ts.Server(place)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def folder(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_POLL_S", 0.05)
    monkeypatch.setattr(backoff, "FIRST_S", 0.05)
    monkeypatch.setattr(backoff, "LONGEST_S", 0.5)
    monkeypatch.setattr(projection, "_WAITS_S", (0.05,) * len(projection._WAITS_S))
    return ts.copy(finished, tmp_path / "sweeps")


def recorded_at(folder, uri, name):
    """The sweep, to be recorded at a server, under another name than that of other tests."""
    return ts.with_spec(folder, name=name, tracking={"uri": uri})


def test_a_server_gets_the_same(folder, server, whole):
    recorded_at(folder, server.uri, "same")
    check_reachable(server.uri)
    ts.project(folder, Store(server.uri))
    first = ts.everything(server.uri, "same")
    assert ts.content(first) == whole
    ts.project(folder, Store(server.uri))
    assert ts.everything(server.uri, "same") == first


BROKEN = ("refused", "denied", "cut", "cut within")


class Proxy(ThreadingHTTPServer):
    """Stands before a server and breaks a quarter of the requests, by a seed.

    refused: 500, and the server never saw it. denied: 500, though the server did it. cut: the
    connection ends before or within the answer, though the server did it.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, uri: str, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = uri.removeprefix("http://")
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"
        self.counts: Counter[str] = Counter()
        self._random, self._bag = random.Random(seed), []

    def fate(self) -> str:
        if not self._bag:
            self._bag = [*BROKEN, *["forwarded"] * 3 * len(BROKEN)]
            self._random.shuffle(self._bag)
        self.counts[self._bag[-1]] += 1
        return self._bag.pop()


class Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        fate = self.server.fate()
        if fate == "refused":
            return self.say(500, b"{}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with closing(http.client.HTTPConnection(self.server.behind, timeout=30)) as behind:
            behind.request(self.command, self.path, body, dict(self.headers))
            answer = behind.getresponse()
            content = answer.read()
        if fate == "denied":
            self.say(500, b"{}")
        elif fate == "forwarded":
            self.say(answer.status, content)
        elif fate == "cut within":
            self.say(answer.status, content, length=len(content) + 10)
        self.close_connection = True

    do_POST = do_PUT = do_GET

    def say(self, status: int, content: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        del args


@pytest.fixture
def proxy(server):
    proxy = Proxy(server.uri, seed=3)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    yield proxy
    proxy.shutdown()
    proxy.server_close()
    thread.join()


def test_a_server_that_fails_now_and_then(folder, server, proxy, whole):
    recorded_at(folder, proxy.uri, "failing")
    with ts.following(folder):
        ts.wait_for(lambda: ts.progress(folder)["ended"])
    assert min(proxy.counts[fate] for fate in BROKEN) >= 2
    assert ts.content(ts.everything(server.uri, "failing")) == whole


def test_a_server_that_is_killed_and_started_again(folder, server, whole):
    """The last one: it takes the server's connections from under everybody else."""
    recorded_at(folder, server.uri, "outage")
    tellers = ts.withhold(folder)

    def progress():
        return ts.progress(folder)

    with ts.following(folder):
        tellers[0]()
        ts.wait_for(lambda: progress()["recorded"] == 1)
        for tell in tellers[1:4]:
            tell()
        server.kill()  # while it records these
        tellers[4]()
        ts.wait_for(lambda: progress()["error"] and progress()["told"] == 5)
        before = progress()
        assert before["recorded"] < 5
        server.start(wait=False)
        ts.wait_for(lambda: progress()["lag_s"] > before["lag_s"] + 0.5)
        ts.wait_for(lambda: progress()["recorded"] == 5, 120)
        ts.wait_for(lambda: progress()["lag_s"] == 0 and progress()["error"] is None)
        tellers[5]()
        ts.put_ended(folder, "finished")
        ts.wait_for(lambda: progress()["ended"])
    found = ts.everything(server.uri, "outage")
    assert ts.content(found) == whole
    lags = [value for _, value, _ in ts.parent(found)["history"]["tracker_lag_s"]]
    assert max(lags) > before["lag_s"]
    assert lags[-1] == 0
