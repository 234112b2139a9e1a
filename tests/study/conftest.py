"""Databases for the tests of the study."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Place
from postgres_server import Server, running


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all tests; each of them takes a schema of its own."""
    with running() as found:
        yield found


@pytest.fixture
def dying(server: Server) -> Iterator[Server]:
    """The server, for a test that kills it."""
    yield server
    server.start()  # for the others


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "study.db", None)
    yield place
    place.close()


@pytest.fixture
def postgres(server: Server) -> Iterator[Place]:
    place = Place(server.url, f"sweep_{uuid.uuid4().hex[:12]}")
    yield place
    place.close()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Place:
    """The same test on SQLite and on PostgreSQL."""
    found: Place = request.getfixturevalue(request.param)
    return found
