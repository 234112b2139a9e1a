"""SQLAlchemy engines for a study: a SQLite file or PostgreSQL, and when they are unavailable."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sweeper import server_url
from sweeper.errors import SweepError, one_of

CONNECT_S = 5
_SQLITE_WAIT_S = 30
_SQLITE_AGAIN_S = 0.02
_LONGEST = 200
_NAME_BYTES = 63  # PostgreSQL cuts longer names
# What a disk, its permissions or another process can do to us. Everything else is our mistake.
_SQLITE_REASONS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
}
_READ_ONLY_SERVER = "25006"  # a server that has become somebody's standby
# A machine that is gone must lose its locks within a minute or so, and no wait is for ever.
_SERVER_SETTINGS = """
SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
SET lock_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'
"""
_CLIENT_SETTINGS = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
}


class Unavailable(Exception):
    """The database can't be reached or written now: full disk, server down. Try again later."""


@contextmanager
def reaching(where: str) -> Iterator[None]:
    """Raise as Unavailable what the disk or the server did; our own mistakes stay what they are.

    Args:
        where: what is reached, as it stands in the message.
    """
    try:
        yield
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
        if not _is_unavailable(error):
            raise
        raise Unavailable(f"{where}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """What a driver says, on one line."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0].strip()[:_LONGEST] if lines else type(error).__name__


def _is_unavailable(error: Exception) -> bool:
    if isinstance(error, sa.exc.TimeoutError):  # every connection of the pool is taken
        return True
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return sqlite_code(cause) in _SQLITE_REASONS
    if not isinstance(error, sa.exc.DBAPIError):
        return False
    kinds = sa.exc.OperationalError, sa.exc.InterfaceError
    is_standby = getattr(cause, "sqlstate", None) == _READ_ONLY_SERVER
    return isinstance(error, kinds) or error.connection_invalidated or is_standby


def sqlite_code(error: BaseException | None) -> int:
    """SQLite's primary result code; 0 where there is none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def make_engine(url: sa.URL, schema: str | None) -> sa.Engine:
    """An engine; its transactions only read unless they have the execution option `write`.

    Args:
        url: of a SQLite file or of a PostgreSQL server.
        schema: of PostgreSQL, in which the tables live.
    """
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, connect_args={"timeout": _SQLITE_WAIT_S})
        sa.event.listen(engine, "connect", _set_pragmas)
        sa.event.listen(engine, "begin", _begin)
        return engine
    settings = {key: value for key, value in _CLIENT_SETTINGS.items() if key not in url.query}
    engine = sa.create_engine(url, connect_args=settings, pool_pre_ping=True)
    sa.event.listen(engine, "connect", _set_server_settings)
    return engine.execution_options(schema_translate_map={None: schema})


def writing(engine: sa.Engine) -> sa.Engine:
    """The same engine for transactions that write."""
    return engine.execution_options(write=True)


def to_url(url: str | Path) -> sa.URL:
    """The URL of a database: a path is a SQLite file; PostgreSQL is spoken to by psycopg 3.

    Raises:
        SweepError: another kind of database, or psycopg is not installed.
    """
    if isinstance(url, Path):
        return sa.URL.create("sqlite", database=str(url))
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # the latter for a port that is none
        raise SweepError("not the URL of a database", where=server_url.KEY) from None
    if parsed.drivername not in ("sqlite", *server_url.SCHEMES):
        raise SweepError(
            f"a database of kind {parsed.drivername!r}",
            where=server_url.KEY,
            allowed=one_of(server_url.SCHEMES),
        )
    if parsed.get_backend_name() == "sqlite":
        return parsed
    if find_spec("psycopg") is None:
        raise SweepError(
            "psycopg, which speaks to PostgreSQL, is not installed",
            where=server_url.KEY,
            cure="Install it: pip install 'sweeper[postgres]'",
        )
    return parsed.set(drivername="postgresql+psycopg")


def schema_of(sweep: str) -> str:
    """The schema of a sweep on a server: a plain name, with a hash where that had to differ."""
    plain = "sweep_" + re.sub("[^a-z0-9_]", "_", sweep.lower())
    if plain == f"sweep_{sweep}" and len(plain) <= _NAME_BYTES:
        return plain
    short = hashlib.sha256(sweep.encode()).hexdigest()[:8]
    return f"{plain[: _NAME_BYTES - 9]}_{short}"


def shown(url: sa.URL, schema: str | None) -> str:
    """A database as it stands in a message, without a password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    plain = url.set(drivername="postgresql").render_as_string(hide_password=True)
    return f"{plain}, schema {schema}" if schema else plain


def check_server(url: str) -> None:
    """Connect to a server once, within seconds.

    Raises:
        SweepError: it can't be reached, or it doesn't let us in.
    """
    parsed = to_url(url)
    engine = make_engine(parsed, None)
    try:
        with engine.connect() as connection:
            connection.scalar(sa.select(1))
    except sa.exc.SQLAlchemyError as error:
        raise SweepError(
            f"the study's database can't be reached: {shown(parsed, None)}: {reason_of(error)}",
            where=server_url.KEY,
            cure="Start the server, or correct study_url; a password comes from PGPASSWORD or "
            "~/.pgpass.",
        ) from error
    finally:
        engine.dispose()


def _set_pragmas(connection: Any, record: object) -> None:
    del record
    # The driver would begin transactions itself, late and never IMMEDIATE: `_begin` does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    _use_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """Switch a file to write-ahead logging; where another process writes to it, wait for that."""
    deadline = time.monotonic() + _SQLITE_WAIT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # SQLite itself doesn't wait here, whatever its timeout.
            if sqlite_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_SQLITE_AGAIN_S)


def _begin(connection: sa.Connection) -> None:
    # A writer that first reads must own the write lock before: what it read then still holds.
    writes = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_server_settings(connection: Any, record: object) -> None:
    del record
    cursor = connection.cursor()
    cursor.execute(_SERVER_SETTINGS)
    cursor.close()
    connection.commit()  # else the first rollback takes the settings back
