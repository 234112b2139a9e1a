"""A real S3 server for tests: rclone serves a throw-away folder, with signed requests."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

_KEY, _SECRET = "sweepertest", "secretsecret"
BUCKET = "bucket"


class S3Server:
    """Listens on a port of its own; ends with this process."""

    def __init__(self) -> None:
        self._program = _rclone()
        self.folder = Path(tempfile.mkdtemp(prefix="sweeper-s3-"))
        (self.folder / BUCKET).mkdir()
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self._port = one.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def files(self, prefix: str) -> list[str]:
        """Names of all objects below a prefix, without it."""
        root = self.folder / BUCKET / prefix
        return sorted(str(one.relative_to(root)) for one in root.rglob("*") if one.is_file())

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        command = [
            str(self._program), "serve", "s3", "--config", os.devnull,
            "--addr", f"127.0.0.1:{self._port}", "--auth-key", f"{_KEY},{_SECRET}",
            "--no-cleanup", str(self.folder),
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, preexec_fn=_end_with_parent
            )
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.02)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def remove(self) -> None:
        """End it and leave nothing behind."""
        self.kill()
        shutil.rmtree(self.folder)


def _rclone() -> str:
    """`make setup` puts it beside the packages: its wheel brings folders of others' names."""
    own = Path(sys.prefix) / "rclone" / "rclone_api" / "bin" / "rclone"
    if own.is_file():
        return str(own)
    found = shutil.which("rclone")
    if found is None or subprocess.run([found, "serve", "s3", "--help"], check=False,
                                       capture_output=True).returncode:  # fmt: skip
        pytest.skip("no rclone that serves S3: run `make setup`")
    return found


def _end_with_parent() -> None:
    """Linux only: a test process that is killed leaves no server behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
