"""Notices at the end of real launches: a real command, a real HTTP server, and both failing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from live_sweeps import COMMAND, write_spec
from rich.console import Console

import sweeper
from sweeper import webhook_url
from sweeper.errors import SweepError
from sweeper.results.status import status
from sweeper.runtime import notify
from sweeper.spec import check
from sweeper.spec_sections import Notify
from sweeper.study.folder import Folder

KEEP = "import sys, os, pathlib; pathlib.Path(sys.argv[1]).write_text(" + (
    "os.environ['SWEEPER_SWEEP'] + ' ' + os.environ['SWEEPER_STATE'] + chr(10) + sys.stdin.read())"
)
SPEC: dict[str, Any] = {
    "name": "told",
    "task": "perceptron",
    "horizon": 40,
    "seeds": 1,
    "space": {"lr": {"log_uniform": [1e-4, 1e-3]}},
    "search": {"sampler": "random"},
    "budget": {"trials": 2},
    "stress": {"top": 0},
    "lanes": {"slots": 2},
}

BREAKING = """
import torch, sweeper
class Data(torch.utils.data.Dataset):
    count = 0
    def __len__(self):
        return 8
    def __getitem__(self, index):
        Data.count += 1
        if Data.count > 60:
            raise OSError("the disk is gone")
        return torch.ones(1), torch.ones(1)
def build():
    loss = torch.nn.functional.mse_loss
    return sweeper.Task(model=lambda: torch.nn.Linear(1, 1), loss=loss, data=Data(), batch_size=4)
"""


class Hook(ThreadingHTTPServer):
    """A server of webhooks: `/ok` takes a notice, `/no` refuses, `/drip` never ends its answer."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.got: list[tuple[str, str, dict[str, Any]]] = []
        self.over = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
        place = self.path.partition("?")[0]
        while place == "/drip" and not self.server.over.wait(0.2):
            self.wfile.write(b"H")  # each byte within the timeout of the socket
            self.wfile.flush()
        self.send_response({"/no": 500, "/away": 302}.get(place, 200))
        self.send_header("Location", "/ok")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.got.append((self.path, "GET", {}))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        del args


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all launches: MLflow's tables are made once."""
    return tmp_path_factory.mktemp("notify") / "sweeps"


def launch(storage: Path, name: str, **changes: Any) -> tuple[str, BaseException | None]:
    """What a launch says, and what it raises."""
    spec = {**SPEC, "name": name, "storage": str(storage), **changes}
    said, raised = io.StringIO(), None
    try:
        sweeper.launch(spec, local=True, console=Console(file=said, width=500))
    except SweepError as error:
        raised = error
    return said.getvalue(), raised


def test_a_finished_sweep_tells_a_command_and_a_webhook(
    storage: Path, tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_HOOK", f"{hook.url}/ok/secret-token")
    command = [sys.executable, "-c", KEEP, str(tmp_path / "kept $HOME")]
    options = {"command": command, "webhook": "env:MY_HOOK"}
    said, raised = launch(storage, "told", notify=options)
    assert raised is None
    assert "notification" not in said
    head, _, body = (tmp_path / "kept $HOME").read_text().partition("\n")
    assert head == "told finished"
    notice = json.loads(body)
    assert hook.got == [("/ok/secret-token", "application/json", notice)]
    known = json.loads((storage / "told" / "recommended.json").read_text())
    trial = known["evidence"]["trial"]
    kept = {key: known[key] for key in ("config", "evidence", "proven")}
    assert notice["recommended"] == {"trial": trial, **kept}
    assert notice["trials"] == {"told": 2, "failed": 0, "pruned": 0, "total": 2}
    assert notice["storage"] == str(storage)
    assert notice["error"] is notice["reason"] is None
    assert notice["text"].startswith("told: finished after ")
    assert f"Recommended: trial {trial}, held on 1 seed" in notice["text"]
    assert 0 < notice["duration_s"] < 200
    # The secret is in no file of the storage, MLflow's database among them.
    files = [path for path in storage.rglob("*") if path.is_file()]
    assert any(b"env:MY_HOOK" in path.read_bytes() for path in files)
    assert not any(b"secret-token" in path.read_bytes() for path in files)
    # Shown again: nothing has ended, so nobody is told.
    assert launch(storage, "told", notify=options)[1] is None
    assert len(hook.got) == 1


def test_nothing_held_is_told_with_the_reason(storage: Path, hook: Hook) -> None:
    space = {"optimizer": "sgd", "lr": {"uniform": [1e5, 1e6]}}
    launch(storage, "diverging", space=space, notify={"webhook": f"{hook.url}/ok"})
    [(_, _, notice)] = hook.got
    assert (notice["state"], notice["recommended"]) == ("finished", None)
    assert notice["reason"].startswith("nothing to recommend: 2 of 2 trials of 'diverging' failed")
    assert notice["reason"] in notice["text"]


def test_a_failed_sweep_tells_its_error(
    storage: Path, tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data can be read in the check before the launch, and then no more."""
    (tmp_path / "breaking.py").write_text(BREAKING)
    monkeypatch.syspath_prepend(str(tmp_path))
    options = {"webhook": f"{hook.url}/ok", "on": ["failed"]}
    _, raised = launch(storage, "breaking", task="breaking:build", notify=options)
    assert "OSError: the disk is gone" in str(raised)
    [(_, _, notice)] = hook.got
    assert (notice["state"], notice["error"]) == ("failed", str(raised))
    assert "with 0 of 2 trials. data: the batch of step" in notice["text"]
    assert "\n" not in notice["text"]


def test_an_interrupted_sweep_tells_how_to_go_on(tmp_path: Path, hook: Hook) -> None:
    options = {"webhook": f"{hook.url}/ok", "command": "touch kept"}
    path = write_spec(tmp_path, notify=options, horizon=100_000, budget={"trials": 64})
    command = [*COMMAND, "launch", str(path), "--local"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        until = time.monotonic() + 90
        while not trains(tmp_path / "small") and time.monotonic() < until:
            time.sleep(0.1)
        os.kill(running.pid, signal.SIGINT)
        assert running.wait(60) == 130
        assert "notification" not in running.stderr.read()
    [(_, _, notice)] = hook.got
    assert (notice["state"], notice["sweep"], notice["error"]) == ("stopped", "small", None)
    assert notice["trials"]["total"] == 64
    assert f"go on with `sweeper resume small --storage {tmp_path}`" in notice["text"]
    assert (tmp_path / "kept").exists()


def trains(folder: Path) -> bool:
    """Whether a sweep has got anywhere."""
    with contextlib.suppress(SweepError):
        return bool(status(Folder(folder))["run_steps"])
    return False


def test_what_fails_or_hangs_costs_one_warning_and_no_time(
    storage: Path, tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "TIMEOUT_S", 1.0)
    # The command leaves a child behind that holds its streams open.
    command = ["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/child; sleep 60"]
    options = {"command": command, "webhook": f"{hook.url}/drip"}
    said, raised = launch(storage, "hanging", notify=options)
    assert raised is None
    warnings = [line for line in said.splitlines() if "notification" in line]
    assert warnings == [
        "The notification did not arrive: notify.command: sh took longer than 1 s",
        "The notification did not arrive: notify.webhook: no answer within 1 s",
    ]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "child").read_text()), 0)
    assert (storage / "hanging" / "recommended.json").exists()
    before = time.monotonic()
    notify.send(Notify(**options), {"sweep": "a", "state": "failed"}, Console(quiet=True))
    assert 1 < time.monotonic() - before < 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"webhook": "/no?token=secret"}, "notify.webhook: http://127.0.0.1:PORT: it answers 500"),
        ({"webhook": "/away"}, "notify.webhook: http://127.0.0.1:PORT: it answers 302"),
        ({"webhook": "http://127.0.0.1:9/secret"}, "http://127.0.0.1:9: ConnectionRefusedError"),
        ({"command": "sh -c 'echo oh no >&2; exit 3'"}, "sh ended with code 3: oh no"),
        ({"command": ["/nowhere/there"]}, "No such file or directory: '/nowhere/there'"),
        ({"webhook": "env:NOT_SET_ANYWHERE"}, "environment variable NOT_SET_ANYWHERE is not set"),
        ({"command": "true"}, ""),
    ],
)
def test_what_is_wrong_is_one_line(
    hook: Hook, capsys: pytest.CaptureFixture[str], options: dict[str, Any], says: str
) -> None:
    if options.get("webhook", "").startswith("/"):
        options = {"webhook": hook.url + options["webhook"]}
    notice = {"sweep": "told", "state": "stopped"}
    notify.send(Notify(**options), notice, Console(width=500))
    said = capsys.readouterr().out
    assert says.replace("PORT", str(hook.server_address[1])) in said
    assert said.count("\n") == bool(says)
    assert "secret" not in said
    assert "GET" not in [kind for _, kind, _ in hook.got]
    notify.send(Notify(**options, on=["failed"]), notice, Console(width=500))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"webhook": "ftp://host/secret"}, "notify.webhook: no http(s) URL; allowed: https://"),
        ({"webhook": "https://user:secret@host/"}, "a URL with a user or a password"),
        ({"webhook": "https://ho st/secret"}, "characters that none may have"),
        ({"webhook": "http://host:port/secret"}, "no http(s) URL"),
        ({"webhook": "env:1"}, "no name of an environment variable"),
        ({"command": "echo 'a"}, "No closing quotation"),
        ({"command": []}, "notify.command: []; allowed: a program and its arguments"),
        ({"command": " "}, "a program and its arguments"),
        ({"on": ["done"]}, "notify.on[0]: 'done'; allowed: 'finished', 'failed' or 'stopped'"),
        ({"webhok": "https://host"}, "Did you mean 'webhook'?"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SweepError) as raised:
        check({**SPEC, "notify": options})
    assert says in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"command": "no-such-program --now"}, "there is no command 'no-such-program'"),
        ({"webhook": "env:NOT_SET_ANYWHERE"}, "variable NOT_SET_ANYWHERE is not set"),
        ({"webhook": "env:HAS_NO_URL"}, "the environment variable HAS_NO_URL: no http(s) URL"),
    ],
)
def test_nobody_to_tell_is_found_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], says: str
) -> None:
    monkeypatch.setenv("HAS_NO_URL", "secret")
    _, raised = launch(tmp_path / "sweeps", "told", notify=options)
    assert says in str(raised)
    assert "secret" not in str(raised)
    assert not (tmp_path / "sweeps").exists()


def test_whom_to_tell_may_change_between_launches() -> None:
    with_one = check({**SPEC, "notify": {"webhook": "https://host/path", "on": ["failed"]}})
    assert with_one.meaning() == check(SPEC).meaning()
    assert check(with_one.model_dump(mode="json")) == with_one
    assert webhook_url.shown("https://host:8/path?x=1") == "https://host:8"
