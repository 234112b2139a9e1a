"""`sweeper ui` as a process of its own on a free port, for those who look at its pages."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WAIT_S = 120.0


@contextmanager
def served(storage: Path, sweep: str) -> Iterator[str]:
    """The link that `sweeper ui` prints for a sweep of a storage; the server ends with the block.

    Raises:
        RuntimeError: no link after two minutes, with what the server said instead.
    """
    command = [sys.executable, "-m", "sweeper.cli", "ui", "--storage", str(storage)]
    log = storage / "ui.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [*command, "--port", str(_free_port())], stdout=file, stderr=file, process_group=0
        )
    try:
        yield _link(server, log, sweep)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGINT)
            server.wait(30)


def _link(server: subprocess.Popen[bytes], log: Path, sweep: str) -> str:
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end and server.poll() is None:
        found = re.search(rf"^{re.escape(sweep)}: (\S+)\n", log.read_text(), re.MULTILINE)
        if found:
            return found.group(1)
        time.sleep(0.1)
    raise RuntimeError(f"sweeper ui gave no link to {sweep}: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
