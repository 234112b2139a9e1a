"""The MLflow UI on the sweeps of a storage, and where in it they are."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from sweeper.errors import SweepError
from sweeper.tracking import opening, views
from sweeper.tracking.store import SERVER_ENVIRONMENT, Store, check_reachable, resolve_uri

_SHOWN = 20
_LOOK_S = 0.1
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def serve_ui(storage: Path, *, host: str, port: int, say: Callable[[str], None]) -> int:
    """Run the MLflow UI on the sweeps of a storage until Ctrl-C; returns its exit code.

    Args:
        say: is told where the ranking of every sweep is, once the server answers.

    Raises:
        SweepError: no sweep is recorded there, or the port is taken.
    """
    if not (storage / "mlflow.db").exists():
        raise SweepError(
            f"no sweep is recorded in {storage}",
            where="storage",
            cure="Launch one, or name another folder with --storage.",
        )
    _check_free(host, port)
    uri, artifacts = resolve_uri("sqlite", storage), str(storage / "mlartifacts")
    command = ["server", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    command += ["--default-artifact-root", artifacts, "--artifacts-destination", artifacts]
    command = opening.command_line(*command, "--workers", "1")
    # A group of its own: the server has a child, and both end with this process, however it is
    # asked to.
    with subprocess.Popen(  # noqa: S603
        command, env=os.environ | SERVER_ENVIRONMENT, start_new_session=True
    ) as server:
        try:
            for line in _places(server, "127.0.0.1" if host in _EVERYWHERE else host, port):
                say(line)
            return _until_it_ends(server)
        except KeyboardInterrupt:  # that is how one leaves
            return 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)


def _until_it_ends(server: subprocess.Popen[bytes]) -> int:
    """Its exit code. Libraries (polars) put handlers before ours that restart a blocking wait."""
    while (code := server.poll()) is None:
        time.sleep(_LOOK_S)
    return code


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the server does: a port that was left a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SweepError(
                f"can't listen at {host}, port {port}: {error.strerror or error}",
                where="--port",
                cure="Name another one, such as --port 5001.",
            ) from error


def _places(server: subprocess.Popen[bytes], host: str, port: int) -> Iterator[str]:
    """Lines with the address of every sweep; none when the server ends before it answers."""
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    while server.poll() is None:
        with suppress(SweepError):
            check_reachable(address)
            break
        time.sleep(_LOOK_S)
    else:
        return
    with suppress(Exception):  # whatever it is, the server says it to who opens the page
        found = Store(address).experiments(views.RANKING_TAG, _SHOWN)
        for name, experiment in found:
            yield f"{name}: {address}/{views.link(experiment, views.RANKING)}"
