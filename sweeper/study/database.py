"""The study's database: the truth of a sweep, through SQLAlchemy.

What it says is on disk before a call returns. A row file or a trajectory part counts when it is
named here. Leases are not kept here: after a restart the lanes say what they hold.

A launch that was superseded writes nothing any more (`join_launch`). What the disk or the server
do is raised as Unavailable; the same call may then be made again, even if it was carried out and
only its answer was lost.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sweeper.errors import SweepError
from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part, Span
from sweeper.study import changes, engine, migrations, tables
from sweeper.study.engine import Unavailable, check_server
from sweeper.study.tables import (
    BASELINE,
    COMPLETE,
    FAIL,
    PRUNED,
    RUNNING,
    SCHEMA,
    SEARCH,
    STRESS,
    Change,
    RunRow,
    Trial,
)

__all__ = [
    "Change", "Database", "Fenced", "RunRow", "Trial", "Unavailable", "check_server",
    "BASELINE", "COMPLETE", "FAIL", "PRUNED", "RUNNING", "SCHEMA", "SEARCH", "STRESS",
]  # fmt: skip

_NO_RIGHT = "42501"  # PostgreSQL: insufficient privilege
_STREAMED = 500  # rows that are in memory at once, of those that are read one by one
_RUN = list(tables.runs.columns)
_OPEN_RESULT = sa.case((tables.trials.c.told.is_(None), tables.runs.c.result), else_=None)
_RUN_OF_OPEN = [
    _OPEN_RESULT.label("result") if column is tables.runs.c.result else column for column in _RUN
]


class Fenced(SweepError):
    """This launch of the sweep is not the last one any more: it must not write."""


class Database:
    """The database of one sweep. Safe for several threads of one process.

    Args:
        url: a path is a SQLite file, text a URL.
        schema: of PostgreSQL, in which the tables of this sweep live.
        create: make the tables where there are none.

    Attributes:
        waited_s: seconds that writers of this process have waited until they could begin, such as
            for those of other processes.

    Raises:
        SweepError: there is no study, or one of a newer schema; an older one is brought up.
        Unavailable: the disk or the server.
    """

    def __init__(
        self, url: str | Path, *, schema: str | None = None, create: bool = False
    ) -> None:
        parsed = engine.to_url(url)
        self._schema, self._where = schema, engine.shown(parsed, schema)
        self._launch: int | None = None
        self.waited_s = 0.0
        if parsed.get_backend_name() == "sqlite" and not create:
            path = Path(str(parsed.database))
            if not path.exists():
                raise SweepError(f"there is no sweep at {path.parent}", where="storage")
        self._reader = engine.make_engine(parsed, schema)
        self._writer = engine.writing(self._reader)
        try:
            self._open(create)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._reader.dispose()

    # Launches

    @contextmanager
    def lock(self, *, wait_s: float = 0.0) -> Iterator[None]:
        """Keep other launches out, by a connection of its own: it ends with this process.

        Only on a server; for SQLite a lock file in the folder does it. A server that restarts
        forgets the lock: what keeps an old launch from writing is the number of the launch.

        Raises:
            SweepError: another launch still has it after `wait_s` seconds.
        """
        if self._reader.dialect.name == "sqlite":
            yield
            return
        key = migrations.lock_key(f"{self._schema}: launch")
        with engine.reaching(self._where):
            connection = self._reader.connect().execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()  # never back to the pool: its next user would have the lock
        try:
            with engine.reaching(self._where):
                self._take_lock(connection, key, time.monotonic() + wait_s)
            yield
        finally:
            with suppress(sa.exc.SQLAlchemyError):  # the server is gone, and the lock with it
                connection.scalar(sa.select(sa.func.pg_advisory_unlock(key)))
            with suppress(sa.exc.SQLAlchemyError):
                connection.close()

    def _take_lock(self, connection: sa.Connection, key: int, deadline: float) -> None:
        while not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))):
            if time.monotonic() >= deadline:
                raise SweepError(
                    "this sweep is running already",
                    where=self._where,
                    cure="Wait for it, or end it with Ctrl-C where it runs. The lock of a machine "
                    "that died goes within a minute.",
                )
            time.sleep(0.1)

    def begin_launch(self) -> int:
        """Begin a launch, counted from 1: those before it can't write any more."""
        with self._begin() as connection:
            number = (changes.launch(connection, change=True) or 0) + 1
            changes.put_meta(connection, {"launch": number})
            return number

    def join_launch(self, number: int) -> None:
        """From now on write only while `number` is the last launch; else raise Fenced."""
        self._launch = number

    # Reading

    def meta(self, key: str) -> Any:
        """A value of the sweep; None when it was never put."""
        table = tables.meta.c
        with self._read() as connection:
            return connection.scalar(sa.select(table.value).where(table.key == key))

    def trials(self, *, told_after: int | None = None) -> list[Trial]:
        """All trials by number, or those told after a place in the telling, in its order."""
        table = tables.trials.c
        query = sa.select(tables.trials).order_by(table.number)
        if told_after is not None:
            query = sa.select(tables.trials).where(table.told > told_after).order_by(table.told)
        with self._read() as connection:
            return [Trial(**row) for row in connection.execute(query).mappings()]

    def runs(self, trials: Iterable[int] | None = None, *, told: bool = True) -> list[RunRow]:
        """All runs by id, or those of some trials.

        Args:
            told: with the results of trials that were told: they are most of what a sweep is.
        """
        table = tables.runs.c
        query = sa.select(*(_RUN if told else _RUN_OF_OPEN), tables.trials.c.config)
        query = query.join(tables.trials)
        if trials is not None:
            query = query.where(table.trial.in_(list(trials)))
        with self._read() as connection:
            found = connection.execute(query.order_by(table.id)).mappings()
            return [_run_row(row) for row in found]

    def results(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number of the trial and result of every run that has ended, by id, one by one."""
        table = tables.runs.c
        query = sa.select(table.trial, table.result).where(table.result.is_not(None))
        with self._read() as connection:
            streamed = connection.execution_options(yield_per=_STREAMED)
            for row in streamed.execute(query.order_by(table.id)):
                yield row.trial, row.result

    def parts(self, runs: Iterable[int] | None = None) -> list[Part]:
        """The trajectory parts that count, with what of them counts."""
        table = tables.spans.c
        query = sa.select(tables.spans).order_by(table.part, table.run, table.first)
        if runs is not None:
            query = query.where(table.run.in_(list(runs)))
        found: dict[str, list[Span]] = {}
        with self._read() as connection:
            for row in connection.execute(query).mappings():
                span = Span(row["run"], row["first"], row["stop"])
                found.setdefault(row["part"], []).append(span)
        return [Part(path, tuple(spans)) for path, spans in found.items()]

    # Writing

    def put_meta(self, **values: Any) -> None:
        """Put values of the sweep."""
        with self._write() as connection:
            changes.put_meta(connection, values)

    def add_trials(self, trials: Sequence[Trial], runs: Sequence[Run]) -> None:
        """Add trials and their runs."""
        with self._write() as connection:
            changes.add_trials(connection, trials, runs)

    def record(self, change: Change) -> None:
        """Put a whole change on disk, in one transaction."""
        with self._write() as connection:
            changes.record(connection, change)

    def claim(self, folder: str) -> bool:
        """Take new tables for the sweep of a folder; False where another has them, or any trial.

        Once more for the same folder is fine: a launch may die between this and its first trial.
        """
        table = tables.meta.c
        with self._write() as connection:
            changes.launch(connection, change=True)  # two that claim come one after the other
            owner = connection.scalar(sa.select(table.value).where(table.key == "folder"))
            count = connection.scalar(sa.select(sa.func.count()).select_from(tables.trials))
            if count or owner not in (None, folder):
                return False
            changes.put_meta(connection, {"folder": folder})
            return True

    # Transactions

    def _open(self, create: bool) -> None:
        try:
            with engine.reaching(self._where):
                if create:
                    migrations.create(self._writer, self._schema)
                migrations.upgrade(self._reader, self._schema, self._where)
        except sa.exc.DBAPIError as error:
            mistake = self._explain(error)
            if mistake is None:
                raise
            raise mistake from error

    def _explain(self, error: sa.exc.DBAPIError) -> SweepError | None:
        """What the user can do about a database that doesn't open, if anything."""
        reason = engine.reason_of(error)
        broken = sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB
        if engine.sqlite_code(error.orig) in broken:
            return SweepError(f"can't read {self._where}: {reason}", cure="Put a backup back.")
        if getattr(error.orig, "sqlstate", None) == _NO_RIGHT:
            return SweepError(
                f"{self._where}: {reason}",
                where="study_url",
                cure="It takes the right to make schemas: GRANT CREATE ON DATABASE ... TO ...",
            )
        return None

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with engine.reaching(self._where), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        asked = time.monotonic()
        with engine.reaching(self._where), self._writer.begin() as connection:
            self.waited_s += time.monotonic() - asked
            yield connection

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self._begin() as connection:
            if self._launch is not None and changes.launch(connection) != self._launch:
                raise Fenced("another launch of this sweep has taken over", where=self._where)
            yield connection


def _run_row(row: sa.RowMapping) -> RunRow:
    run = Run(row["id"], row["trial"], row["config"], row["seed"], row["horizon"])
    return RunRow(run, row["step"], row["row_file"], row["result"], row["deaths"])
