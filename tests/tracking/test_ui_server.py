"""`sweeper ui` ends with its server, however it is asked to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.tracking import views
from sweeper.tracking.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_ui_that_is_told_to_end_leaves_no_server(tmp_path: Path, kind: signal.Signals) -> None:
    store = Store(f"sqlite:///{tmp_path / 'mlflow.db'}")
    store.experiment("small", lambda _: {views.RANKING_TAG: "{}"})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "sweeper.cli", "ui", "--storage", str(tmp_path)]
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert any(line.startswith("small: http://") for line in process.stdout)
        # A browser keeps its connection, and may be in the middle of a request.
        with socket.create_connection(("127.0.0.1", port)) as browser:
            browser.sendall(b"POST /api/2.0/mlflow/runs/search HTTP/1.1\r\nHost: x\r\n")
            browser.sendall(b"Content-Length: 100\r\nContent-Type: application/json\r\n\r\n{")
            process.send_signal(kind)
            assert process.wait(20) == 0
        _wait_until(lambda: not _answers(port))
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        assert str(tmp_path) not in listed.stdout
    finally:
        process.terminate()
        process.communicate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("not within a minute")
