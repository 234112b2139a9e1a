"""The schema number of a study's database, and the steps from an older one to today's.

A step and its new number are one transaction: a crash leaves the old schema or the new one. Steps
are plain SQL, since the table definitions know today's schema only.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import sqlalchemy as sa

from sweeper.errors import SweepError
from sweeper.study import tables
from sweeper.study.engine import Unavailable, writing
from sweeper.study.tables import SCHEMA


def _deaths_and_errors(connection: sa.Connection) -> None:
    """1 -> 2: how often a run took its lane along, and why a trial was given up."""
    connection.execute(sa.text("ALTER TABLE runs ADD COLUMN deaths INTEGER DEFAULT 0 NOT NULL"))
    connection.execute(sa.text("ALTER TABLE trials ADD COLUMN error TEXT"))


def _stress(connection: sa.Connection) -> None:
    """2 -> 3: what a trial of the stress test tests."""
    connection.execute(sa.text("ALTER TABLE trials ADD COLUMN stress TEXT"))


STEPS: dict[int, Callable[[sa.Connection], None]] = {1: _deaths_and_errors, 2: _stress}


def create(writer: sa.Engine, schema: str | None) -> None:
    """Make the tables where there are none, all of them or nothing."""
    with writer.begin() as connection:
        _wait_for_others(connection, schema)
        if schema is not None and not sa.inspect(connection).has_schema(schema):
            connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
        if number_of(connection, schema) is None:
            tables.metadata.create_all(connection)
            rows = [{"key": "schema", "value": SCHEMA}, {"key": "launch", "value": 0}]
            connection.execute(sa.insert(tables.meta), rows)


def upgrade(reader: sa.Engine, schema: str | None, where: str) -> None:
    """Bring a database to today's schema; a SQLite file is copied beside itself before.

    Args:
        reader: an engine whose transactions only read.
        schema: of PostgreSQL.
        where: the database as it stands in messages.

    Raises:
        SweepError: there is no study in it, or one that a newer version made.
        Unavailable: the copy can't be made.
    """
    found = _number_now(reader, schema)
    if found is not None and found < SCHEMA:
        while _step(writing(reader), schema):
            pass
        found = _number_now(reader, schema)
    if found is None:
        raise SweepError(f"{where} holds no study", where="storage")
    if found > SCHEMA:
        raise SweepError(
            f"{where} has schema {found}: a newer version of sweeper made it",
            allowed=f"schema 1 to {SCHEMA}",
            cure="Use that version, or a newer one.",
        )


def number_of(connection: sa.Connection, schema: str | None) -> int | None:
    """The schema number of a database; None where there is no study in it."""
    if not sa.inspect(connection).has_table("meta", schema=schema):
        return None
    query = sa.select(tables.meta.c.value).where(tables.meta.c.key == "schema")
    found: int | None = connection.scalar(query)
    return found


def _number_now(reader: sa.Engine, schema: str | None) -> int | None:
    with reader.connect() as connection:
        return number_of(connection, schema)


def _step(writer: sa.Engine, schema: str | None) -> bool:
    """Go one step up; says whether there was one to go."""
    with writer.begin() as connection:
        _wait_for_others(connection, schema)
        # Another process may have been here since we looked.
        found = number_of(connection, schema)
        if found is None or found >= SCHEMA:
            return False
        if writer.dialect.name == "sqlite":
            _keep_copy(Path(str(writer.url.database)), found)
        elif schema is not None:
            quoted = connection.dialect.identifier_preparer.quote(schema)
            connection.execute(sa.text(f"SET LOCAL search_path TO {quoted}"))
        STEPS[found](connection)
        number = sa.update(tables.meta).where(tables.meta.c.key == "schema")
        connection.execute(number.values(value=found + 1))
        return True


def _keep_copy(path: Path, number: int) -> None:
    """Copy a database as it is on disk to `<name>.schema-<number>`, whole or not at all."""
    target = path.with_name(f"{path.name}.schema-{number}")
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        # A connection of its own: it sees what was committed, not what the step is about to do.
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(aside)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(target)
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(f"{path} needs an upgrade, and a copy before it: {error}") from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _wait_for_others(connection: sa.Connection, schema: str | None) -> None:
    """Let one process after another make or change the tables, until this transaction ends.

    On SQLite the write lock of the transaction does it.
    """
    if connection.dialect.name == "postgresql":
        key = lock_key(f"{schema}: tables")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def lock_key(text: str) -> int:
    """The same signed 64-bit number for a text in every process: a key for advisory locks."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
