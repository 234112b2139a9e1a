"""The Ray Jobs API of a cluster: every failure is one message that says what to do."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from sweeper.errors import SweepError

WHERE = "--address"
_ALLOWED = "http://HEAD:8265, the address of the cluster's Ray dashboard"
# As `ray job submit` has it: what a proxy in front of the cluster wants to see.
_HEADERS = "RAY_JOB_HEADERS"
_CONNECT_S = 10.0
_PATIENCE_S = 30.0
_POLL_S = 0.1
_NOT_YET = "No available agent"
# They say on standard error what they upload.
_CHATTY = ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging")
_PORTS = {"http": 80, "https": 443}


class Client:
    """A cluster.

    Args:
        address: of its dashboard, http or https.

    Raises:
        SweepError: no such address, nobody there, or no right to be there.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        _check_answers(self.address)
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
        with self._said():
            self._jobs = JobSubmissionClient(self.address, headers=_headers())

    def submit(
        self,
        entrypoint: str,
        id: str,
        runtime_env: dict[str, Any],
        metadata: dict[str, str],
    ) -> str:
        """Submit a job; returns its id. An id that is known already is refused."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with self._said():
                    return str(
                        self._jobs.submit_job(
                            entrypoint=entrypoint,
                            submission_id=id,
                            runtime_env=runtime_env,
                            metadata=metadata,
                        )
                    )
            except SweepError as error:  # a head that has just started takes a while to be whole
                if _NOT_YET not in error.what or time.monotonic() > deadline:
                    raise
            time.sleep(1)

    def jobs(self) -> list[JobDetails]:
        """Every submitted job that the cluster remembers, the newest last."""
        with self._said():
            found = [job for job in self._jobs.list_jobs() if job.submission_id]
        return sorted(found, key=lambda job: job.start_time or 0)

    def status(self, id: str) -> JobStatus:
        with self._said():
            return self._jobs.get_job_status(id)

    def await_end(self, id: str, *, wait_s: float = math.inf) -> JobStatus:
        """Wait until a job has ended; a cluster that doesn't answer for a while is waited out.

        Raises:
            SweepError: it has not ended in time, or the cluster has not answered for too long.
        """
        deadline, heard = time.monotonic() + wait_s, time.monotonic()
        while True:
            try:
                status = self.status(id)
                heard = time.monotonic()
                if status.is_terminal():
                    return status
            except SweepError:
                if time.monotonic() - heard > _PATIENCE_S:
                    raise
            if time.monotonic() > deadline:
                raise SweepError(
                    f"job {id} has not ended within {wait_s:.0f} s", where=self.address
                )
            time.sleep(_POLL_S)

    def message(self, id: str) -> str:
        """What Ray says of a job, such as why it could not start."""
        with self._said():
            return str(self._jobs.get_job_info(id).message or "")

    def logs(self, id: str) -> str:
        with self._said():
            return str(self._jobs.get_job_logs(id))

    async def follow(self, id: str) -> AsyncIterator[str]:
        """What a job prints, until it ends."""
        with self._said():
            async for lines in self._jobs.tail_job_logs(id):
                yield lines

    def stop(self, id: str) -> None:
        with self._said():
            self._jobs.stop_job(id)

    def delete(self, id: str) -> None:
        """Forget a job that has ended."""
        with contextlib.suppress(SweepError), self._said():
            self._jobs.delete_job(id)

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except AuthenticationError as error:
            raise SweepError(
                f"{self.address} wants a token, and the one that it got is missing or wrong",
                where=WHERE,
                cure="Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file that has it "
                "(on the head: `ray get-auth-token`).",
            ) from error
        # OSError: those of requests, too.
        except (OSError, RuntimeError, ValueError, aiohttp.ClientError) as error:
            raise SweepError(f"{self.address}: {_first_line(error)}", where=WHERE) from error


def _check_answers(address: str) -> None:
    """Refuse what is no address, and one where nobody listens."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in _PORTS or not host:
        raise SweepError("no address of a cluster", where=WHERE, allowed=_ALLOWED)
    if "@" in parts.netloc:
        raise SweepError(
            "an address with a user or a password",
            where=WHERE,
            allowed=_ALLOWED,
            cure=f"Put what the cluster wants into {_HEADERS}: "
            '\'{"Authorization": "Basic …"}\'.',
        )
    try:
        socket.create_connection((host, int(port or 0)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise SweepError(
            f"no cluster answers at {address}: {error.strerror or error}",
            where=WHERE,
            allowed=_ALLOWED,
            cure="Is it up, and the port forwarded? (ray dashboard, kubectl port-forward)",
        ) from error


def _headers() -> dict[str, str] | None:
    text = os.environ.get(_HEADERS)
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):  # not shown: it holds secrets
        raise SweepError("no JSON mapping", where=_HEADERS, allowed='{"Header": "value"}')
    return {str(key): str(value) for key, value in found.items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
