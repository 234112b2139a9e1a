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

from sweeper.tracking.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


def test_a_terminated_ui_leaves_no_server(tmp_path: Path) -> None:
    Store(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "sweeper.cli", "ui", "--storage", str(tmp_path)]
    process = subprocess.Popen([*command, "--port", str(port)])
    try:
        _wait_until(lambda: _answers(port))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        _wait_until(lambda: not _answers(port))
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        assert str(tmp_path) not in listed.stdout
    finally:
        process.kill()


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
