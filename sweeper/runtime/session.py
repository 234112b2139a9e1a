"""The Ray of a sweep: this process's own, a cluster that is joined, or one for the sweep alone."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import ray

from sweeper.errors import SweepError
from sweeper.runtime.study_actor import NAMESPACE

_CONNECT_S = 5.0


@contextlib.contextmanager
def ray_session(log: Path, address: str | None) -> Iterator[None]:
    """Ray while inside; what it prints goes into a file.

    Args:
        log: gets what Ray prints.
        address: "auto" joins the cluster that this machine belongs to. None uses the Ray that this
            process has initialised, else starts one for this sweep alone.

    Raises:
        SweepError: there is no cluster to join.
    """
    with log.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        if ray.is_initialized():
            yield
            return
        if address is None:
            # Without address="local" ray.init would join any cluster that it finds here.
            ray.init(
                address="local",
                namespace=NAMESPACE,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
            _close_token()
        else:
            join()
        try:
            yield
        finally:
            ray.shutdown()


def _close_token() -> None:
    """Let nobody else read the token of this user's clusters: Ray leaves that to the umask."""
    with contextlib.suppress(OSError, RuntimeError):  # no home, or not ours
        token = Path("~/.ray/auth_token").expanduser()
        if token.stat().st_mode & 0o077:
            token.chmod(0o600)


def join() -> None:
    """Join the cluster that this machine belongs to.

    Raises:
        SweepError: there is none, or it doesn't answer.
    """
    _check_answers(os.environ.get("RAY_ADDRESS", ""))
    try:
        ray.init(address="auto", namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        raise SweepError(
            "no Ray cluster is running on this machine",
            where="--address auto",
            cure="Start one with `ray start --head`, name the address of a cluster "
            "(--address http://HEAD:8265), or leave --address out.",
        ) from error


def _check_answers(address: str) -> None:
    """Refuse an address where nobody listens: Ray would try for two minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise SweepError(
            f"no Ray cluster answers at {address}: {error.strerror or error}",
            where="RAY_ADDRESS",
            cure="Start it, or unset RAY_ADDRESS.",
        ) from error
