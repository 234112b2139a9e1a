"""Real Ray clusters of several raylets on this machine, with token authentication."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import requests

BIN = Path(sys.executable).parent
# A namespace of mounts with an empty folder of its own in place of the one that is named next.
_HIDE = "unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"'


class Cluster:
    """A head without cores for lanes, and nodes that come and go.

    Args:
        folder: gets logs, the token, and is the home of its processes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = secrets.token_hex(16)
        (folder / "token").write_text(self.token)
        self.gcs, self.dashboard = f"127.0.0.1:{free_port()}", free_port()
        self.address = f"http://127.0.0.1:{self.dashboard}"
        # Sockets of Ray lie in it: their paths may have 107 characters.
        self._session = tempfile.mkdtemp(prefix="ray-")
        self._nodes: list[subprocess.Popen[bytes]] = []

    @property
    def environment(self) -> dict[str, str]:
        """Of clients and nodes."""
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "OMP_NUM_THREADS": "1",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
            # A node that dies is noticed within a second.
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_failure_threshold": "3",
            "RAY_health_check_timeout_ms": "1000",
        }

    def start(self, *, cores: int = 0) -> None:
        """Start the head and wait until it takes jobs."""
        port = self.gcs.rpartition(":")[2]
        self._start(
            "--head", "--port", port, "--dashboard-port", str(self.dashboard),
            "--temp-dir", self._session, "--num-cpus", str(cores),
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                self.request("GET", "/api/version")
                return
            except requests.RequestException:
                assert time.monotonic() < deadline, (self.folder / "node-0.log").read_text()
                time.sleep(0.3)

    def request(self, method: str, path: str) -> Any:
        """Ask the cluster's own HTTP interface, past all code of ours."""
        found = requests.request(
            method,
            f"{self.address}{path}",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=20,
        )
        found.raise_for_status()
        return found.json()

    def jobs(self) -> dict[str, dict[str, Any]]:
        """The jobs that were submitted, by their ids."""
        return {job["submission_id"]: job for job in self.request("GET", "/api/jobs/")}

    def add_node(
        self, *, cores: int = 1, gpus: int = 0, without: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a raylet of its own that joins.

        Args:
            without: a folder that is another one, empty, for this node and all that it starts.
        """
        hidden = () if without is None else (*_HIDE, str(without))
        arguments = "--address", self.gcs, "--num-cpus", str(cores), "--num-gpus", str(gpus)
        return self._start(*arguments, within=hidden)

    def kill_node(self, node: subprocess.Popen[bytes]) -> None:
        """SIGKILL a raylet and all that it started, as a power cut would."""
        for one in [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        node.wait()

    def end(self) -> None:
        for node in reversed(self._nodes):
            if node.poll() is None:
                self.kill_node(node)
        shutil.rmtree(self._session, ignore_errors=True)

    def sweeper(
        self, *arguments: str | Path, cwd: Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a sweeper command as a user elsewhere does, with the cluster's address."""
        return subprocess.run(
            [str(BIN / "sweeper"), *map(str, arguments), "--address", self.address],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
            cwd=cwd,
            env={**self.environment, **environment},
        )

    def launched(self, spec: Path, cwd: Path) -> None:
        """Submit a launch; on a busy machine the agent of the head comes late."""
        deadline = time.monotonic() + 60
        while (done := self.sweeper("launch", spec, cwd=cwd)).returncode:
            is_early = "No available agent" in done.stderr
            assert is_early and time.monotonic() < deadline, done.stderr
            time.sleep(1)

    def python(self, code: str) -> str:
        """Run code as on a machine of the cluster; returns the last line that it prints."""
        done = subprocess.run(
            [BIN / "python", "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**self.environment, "RAY_ADDRESS": self.gcs},
        )
        return done.stdout.splitlines()[-1]

    def _start(self, *arguments: str, within: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        # Its default is one port for all of a machine: only the first head would take jobs.
        agent = "--dashboard-agent-listen-port", str(free_port())
        with (self.folder / f"node-{len(self._nodes)}.log").open("wb") as log:
            node = subprocess.Popen(
                [
                    *within,
                    str(BIN / "ray"),
                    "start",
                    *arguments,
                    *agent,
                    "--disable-usage-stats",
                    "--block",
                ],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment,
            )
        self._nodes.append(node)
        return node


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
