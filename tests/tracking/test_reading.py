"""Reading from a real MLflow server alone: results, the recommendation, and what can be wrong."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
import tracked_sweep as ts
from click.testing import CliRunner

import sweeper
from sweeper.cli import cli
from sweeper.errors import SweepError
from sweeper.results.sweep import SweepHandle
from sweeper.study.folder import Folder
from sweeper.tracking import opening
from sweeper.tracking.reading import Reader
from sweeper.tracking.store import Store, check_reachable

pytestmark = [
    # MLflow's tables use what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A finished sweep with its recommendation, as a launch leaves it."""
    made = ts.copy(ts.finished(tmp_path_factory), tmp_path_factory.mktemp("reading") / "sweeps")
    text = json.dumps(SweepHandle(made).recommendation())
    (made.path / "recommended.json").write_text(text)
    return made


@pytest.fixture(scope="module")
def server(folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ts.Server]:
    """A server that has recorded the sweep; its artifacts lie with it."""
    place = tmp_path_factory.mktemp("server")
    with (
        closing(sqlite3.connect(folder.path.parent / "mlflow.db")) as made,
        closing(sqlite3.connect(place / "server.db")) as copy,
    ):
        made.backup(copy)
    running = ts.Server(place)
    running.start()
    ts.project(folder, Store(running.uri))
    yield running
    running.kill()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without any sweep; MLflow's settings are the user's own."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def renamed(folder: Folder, name: str) -> Folder:
    """A copy of the sweep under another name."""
    place = folder.path.parent.with_name(f"sweeps of {name}") / name
    shutil.copytree(folder.path, place)
    return ts.with_spec(Folder(place), name=name)


def output(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments)
    if done.exception is not None:
        raise done.exception
    return done.output


def test_best_and_compare_from_the_server_alone(
    folder: Folder, server: ts.Server, nowhere: Path
) -> None:
    wanted = SweepHandle(folder).ranking()
    for row in wanted:
        row.pop("steps_to_target")
    place = ("small", "--tracking", server.uri)
    found = json.loads(output("best", *place, "--top", "99", "--format", "json"))
    assert found == wanted
    assert "small: best 3 of 6 trials, horizon 200" in output("best", *place, "--top", "3")
    rows = json.loads(output("compare", *place, "--trials", "0,3", "--format", "json"))
    assert [row["robust_loss"] for row in rows] == [
        next(row["robust_loss"] for row in wanted if row["trial"] == trial) for trial in (0, 3)
    ]
    assert list(nowhere.iterdir()) == []
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_the_recommendation_from_the_server_alone(
    folder: Folder, server: ts.Server, nowhere: Path
) -> None:
    wanted = json.loads((folder.path / "recommended.json").read_text())
    found = sweeper.load_recommendation(server.uri, sweep="small")
    assert found.found == wanted
    model = torch.nn.Linear(2, 1)
    optimizer, scheduler = found.make_optimizer(model, 300)
    assert optimizer.param_groups[0]["lr"] <= wanted["config"]["lr"]
    assert scheduler.total_steps == 300
    torch_script = output("export", "small", "--tracking", server.uri, "--format", "torch")
    assert repr(wanted["config"]["lr"]) in torch_script
    written = nowhere / "recommended.json"
    output("export", "small", "--tracking", server.uri, "-o", str(written))
    assert json.loads(written.read_text()) == wanted
    assert sweeper.load_recommendation(folder.path.parent, sweep="small").found == wanted
    assert sweeper.load_recommendation(written).found == wanted


def test_a_sweep_begun_anew_is_another_one(folder: Folder, server: ts.Server) -> None:
    """The newest of a name counts, whatever an older one recommended."""
    store = Store(server.uri)
    again = renamed(folder, "anew")
    ts.project(again, store)
    assert Reader(server.uri).recommendation("anew")[0] >= 0
    with closing(again.database()) as database:
        database.put_meta(id="6" * 32, ended=None)
    ts.put_ended(again, "interrupted")
    time.sleep(0.01)
    ts.project(again, store)
    recorded = Reader(server.uri).sweep("anew")
    assert recorded.parent.tags["sweeper.sweep_id"] == "6" * 32
    assert len(recorded.children) == ts.TRIALS
    with pytest.raises(SweepError, match="nothing is recommended for sweep 'anew': it has not"):
        sweeper.load_recommendation(server.uri, sweep="anew")


def test_a_recommendation_that_is_missing_or_of_another_trial(
    folder: Folder, server: ts.Server
) -> None:
    store = Store(server.uri)
    other = renamed(folder, "other")
    file = other.path / "recommended.json"
    content = json.loads(file.read_text())
    file.unlink()
    ts.project(other, store)
    with pytest.raises(SweepError, match=r"has no artifact recommended\.json"):
        sweeper.load_recommendation(server.uri, sweep="other")
    for text, says in (
        (json.dumps({**content, "evidence": {"trial": 99}}), "is of trial 99, and trial"),
        (json.dumps({**content, "evidence": []}), "is no recommendation"),
        (json.dumps({**content, "schema": 2}), "schema 2 is not known"),
        ("cos\nsystem\n", "is no JSON"),
    ):
        file.write_text(text)
        ts.project(other, store)
        with pytest.raises(SweepError, match=says):
            sweeper.load_recommendation(server.uri, sweep="other")


def test_what_is_wrong_is_one_message(server: ts.Server, nowhere: Path) -> None:
    (nowhere / "notes.txt").write_text("no database")
    sqlite3.connect(nowhere / "study.db").execute("CREATE TABLE runs (a)").connection.close()
    cases: list[tuple[str, str]] = [
        (server.uri, "no sweep 'smal' is recorded at http://127"),
        ("http://127.0.0.1:9", "no tracking server answers at http://127.0.0.1:9: "),
        ("http://me:secret@127.0.0.1:9", "no tracking server answers at http://127.0.0.1:9: "),
        ("notes.txt", "Did you mean sqlite:////"),
        ("ftp://me:secret@host", "'ftp://host' is no tracking URI; allowed: http://host:port"),
        ("sqlite:///missing.db", "there is no database missing.db"),
        ("sqlite:///notes.txt", "notes.txt can't be read: file is not a database"),
        ("sqlite:///study.db", "study.db is no database of MLflow"),
    ]
    before = {path: path.read_bytes() for path in nowhere.iterdir()}
    for uri, says in cases:
        for command in ("best", "compare", "export"):
            with pytest.raises(SweepError) as raised:
                output(command, "smal", "--tracking", uri)
            assert says in str(raised.value)
            assert "secret" not in str(raised.value)
    assert {path: path.read_bytes() for path in nowhere.iterdir()} == before
    with pytest.raises(SweepError, match="the name of the sweep is missing"):
        sweeper.load_recommendation(server.uri)
    done = CliRunner().invoke(cli, ["export", "small", "--tracking", server.uri, "--trial", "3"])
    assert done.exit_code == 2
    assert "leave out --trial" in done.output


def test_a_server_that_hangs_is_told_within_seconds(nowhere: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        before = time.monotonic()
        with pytest.raises(SweepError, match=r"no tracking server answers at .*timed out"):
            output("best", "small", "--tracking", uri)
        assert time.monotonic() - before < 8


def test_a_server_that_goes_away_is_told_within_seconds(server: ts.Server, nowhere: Path) -> None:
    reader = Reader(server.uri)
    gone: Any = Reader(server.uri)
    gone._client = opening.client("http://127.0.0.1:9")
    assert reader.sweep("small").children
    before = time.monotonic()
    with pytest.raises(SweepError, match="can't be read: "):
        gone.sweep("small")
    assert time.monotonic() - before < 8


def test_a_password_in_a_uri_reaches_the_server_and_no_message(server: ts.Server) -> None:
    uri = server.uri.replace("http://", "http://me:secret@")
    check_reachable(uri)
    assert Reader(uri).sweep("small").children
    with pytest.raises(SweepError) as raised:
        Reader(uri).sweep("smal")
    assert "secret" not in str(raised.value)
