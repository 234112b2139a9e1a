"""The MLflow server of cluster/services: its own command and settings, on a real PostgreSQL."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from manifests import CLUSTER, document
from mlflow.exceptions import MlflowException
from postgres_server import Server, running

from sweeper.errors import SweepError
from sweeper.tracking.login import check_login
from sweeper.tracking.store import Store

MANIFEST = CLUSTER / "services" / "mlflow.yaml"
SECRETS = {
    ("sweeper-mlflow", "username"): "somebody",
    ("sweeper-mlflow", "password"): "a password of length",
    ("sweeper-mlflow", "flask-secret"): "0123456789abcdef",
    ("sweeper-postgres", "password"): "not asked for here",
}


def environment(container: dict[str, Any]) -> dict[str, str]:
    """The variables of the container, with what Secrets would have."""
    found = {}
    for one in container["env"]:
        key = one.get("valueFrom", {}).get("secretKeyRef")
        if key is None:
            found[one["name"]] = one["value"]
        elif not key.get("optional"):
            found[one["name"]] = SECRETS[key["name"], key["key"]]
    return found


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    with running() as found:
        [sql] = document(CLUSTER / "services" / "postgres.yaml", "ConfigMap")["data"].values()
        with psycopg.connect(found.url, autocommit=True) as connection:
            connection.execute(sql)
        yield found


@pytest.fixture(scope="module")
def url(database: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server, under the address that it has on this machine."""

    def here(text: str) -> str:
        there = r"postgresql://sweeper@postgres:5432/(\w+)"
        return re.sub(there, rf"postgresql://postgres@/\1?host={database.folder}", text)

    folder = tmp_path_factory.mktemp("mlflow")
    settings = document(MANIFEST, "ConfigMap")["data"]["basic_auth.ini"]
    (folder / "basic_auth.ini").write_text(here(settings))
    [container] = document(MANIFEST, "Deployment")["spec"]["template"]["spec"]["containers"]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [here(part) for part in container["command"]]
    changes = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=5000": f"--port={port}"}
    assert set(changes) <= set(command)
    variables = environment(container) | {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini")
    }
    # One worker in place of four, which take seconds to start.
    variables |= {"MLFLOW_WORKERS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *(changes.get(part, part) for part in command)],
            env={**os.environ, **variables},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait(process, f"http://127.0.0.1:{port}", folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its workers as well
        process.wait(30)


def wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 90
    while asked(url, "/health") != 200:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def asked(url: str, path: str, *, password: str | None = None, host: str | None = None) -> int:
    """The HTTP status of an answer; 0 for none."""
    request = urllib.request.Request(url + path, headers={"Host": host} if host else {})
    if password is not None:
        login = base64.b64encode(f"somebody:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


EXPERIMENT = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"


@pytest.mark.timeout(240)
def test_it_wants_a_password_and_its_own_name(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    password = SECRETS["sweeper-mlflow", "password"]
    assert asked(url, "/health") == 200  # the probes of Kubernetes have no password
    assert asked(url, EXPERIMENT) == 401
    assert asked(url, EXPERIMENT, password="another") == 401
    assert asked(url, EXPERIMENT, password=password) == 200
    assert asked(url, EXPERIMENT, password=password, host="mlflow:5000") == 200
    assert asked(url, EXPERIMENT, password=password, host="elsewhere:5000") == 403

    # The server answers the first question of a kind slowly, and this machine may be busy.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    assert Store(url).experiment("a sweep", lambda _: {"by": "sweeper"})
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another")
    with pytest.raises(MlflowException, match="not authenticated"):
        Store(url).experiment("a sweep", lambda _: {"by": "sweeper"})
    # A launch says so before anything starts.
    with pytest.raises(SweepError, match="refuses the login that it gets") as found:
        check_login(url)
    assert "another" not in str(found.value)
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    with pytest.raises(SweepError, match="MLFLOW_TRACKING_PASSWORD"):
        check_login(url)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    check_login(url)
