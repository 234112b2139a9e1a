"""Servers for the tests of the runtime."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres_server import Server, running
from s3_server import S3Server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One server for all tests; each of them takes a folder of its own in the bucket."""
    found = S3Server()
    try:
        found.start()
        yield found
    finally:
        found.remove()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server, running, and known to this process and to those that it starts."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    yield s3_server
    if not s3_server.is_running:
        s3_server.start()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server; each test takes names of its own."""
    with running() as found:
        yield found
