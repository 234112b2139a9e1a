"""SQLite on a disk that fills up, is locked, or lost power in the middle of a write."""

from __future__ import annotations

import pickle
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from places import Place

from sweeper.errors import SweepError
from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part, Span
from sweeper.study import engine
from sweeper.study.database import RUNNING, Change, Database, Trial, Unavailable

TRIALS = [Trial(n, "search", {"lr": 1.0}, {}, RUNNING, None, None) for n in range(4)]
RUNS = [Run(n, n, {"lr": 1.0}, 0, 100) for n in range(4)]


def save(step: int) -> Change:
    """A change whose every part tells the step."""
    spans = tuple(Span(run, step - 1, step) for run in range(4))
    steps = dict.fromkeys(range(4), step)
    return Change(steps, f"rows/{step}", part=Part(f"p{step:03}", spans), meta={"step": step})


@pytest.fixture
def database(sqlite: Place) -> Database:
    found = sqlite.open(create=True)
    found.add_trials(TRIALS, RUNS)
    found.record(save(1))
    return found


def test_every_connection_is_durable(database: Database) -> None:
    for one in (database._reader, database._writer):
        with one.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_the_lock_of_a_server_is_nothing_here(database: Database, sqlite: Place) -> None:
    with database.lock(), sqlite.open().lock():
        database.put_meta(a=1)


@contextmanager
def full_disk(database: Database) -> Iterator[None]:
    """No page more than the database has: the error is that of a full disk."""

    def limit(connection: Any, record: object) -> None:
        connection.execute("PRAGMA max_page_count=1")  # SQLite takes it as the present size

    sa.event.listen(database._reader, "connect", limit)
    database._reader.dispose()
    try:
        yield
    finally:
        sa.event.remove(database._reader, "connect", limit)
        database._reader.dispose()


def test_a_full_disk_is_said_and_what_did_not_fit_comes_later(database: Database) -> None:
    big = Change({0: 2, 1: 2}, "rows/2", meta={"step": 2, "big": "x" * 200_000})
    more = [Trial(4, "search", {"x": "x" * 200_000}, {}, RUNNING, None, None)]
    with full_disk(database):
        for write in (lambda: database.record(big), lambda: database.add_trials(more, [])):
            with pytest.raises(Unavailable, match="database or disk is full") as caught:
                write()
            assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 300
        assert content(database) == (1, {1}, {0, 1, 2, 3})  # reading goes on
        database.put_meta(small=1)  # and so does what fits
    database.record(big)
    database.add_trials(more, [])
    assert [row.step for row in database.runs()] == [2, 2, 1, 1]


def content(database: Database) -> tuple[int, set[int], set[int]]:
    runs = database.runs()
    return database.meta("step"), {row.step for row in runs}, {row.run.id for row in runs}


def test_a_locked_database_is_unavailable(
    sqlite: Place, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_SQLITE_WAIT_S", 0.1)
    waiting = sqlite.open()
    with database._write() as connection:
        connection.execute(sa.text("UPDATE runs SET step = 77"))
        with pytest.raises(Unavailable, match="database is locked"):
            waiting.put_meta(step=5)
        with pytest.raises(Unavailable, match="database is locked"):
            waiting.begin_launch()
        assert content(waiting) == (1, {1}, {0, 1, 2, 3})  # a reader waits for nobody
    waiting.put_meta(step=5)
    assert waiting.runs()[0].step == 77


def test_a_reader_keeps_nobody_from_writing(
    sqlite: Place, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_SQLITE_WAIT_S", 0.1)
    other = sqlite.open()
    with database._read() as connection:
        query = sa.text("SELECT step FROM runs")
        assert connection.execute(query).scalars().all() == [1] * 4
        other.record(save(2))
        assert connection.execute(query).scalars().all() == [1] * 4  # one look, one state
    assert database.runs()[0].step == 2


def test_our_own_mistakes_stay_what_they_are(database: Database) -> None:
    with pytest.raises(sa.exc.OperationalError, match="no such table"), database._read() as one:
        one.execute(sa.text("SELECT * FROM nowhere"))
    with pytest.raises(TypeError), database._read():
        raise TypeError


@pytest.mark.parametrize("size", [100, 5000, 20_000])
def test_a_file_that_is_no_database(tmp_path: Path, size: int) -> None:
    path = tmp_path / "study.db"
    path.write_bytes(b"MLflow" * (size // 6))
    with pytest.raises(SweepError, match=r"can't read .*study.db: file is not a database"):
        Database(path)


def test_a_folder_that_is_gone(sqlite: Place, database: Database) -> None:
    away = sqlite.file.parent.rename(sqlite.file.parent.with_name("away"))
    database.close()  # else its open file goes on
    try:
        with pytest.raises(Unavailable, match="unable to open database file"):
            database.put_meta(a=1)
        with pytest.raises(Unavailable, match="unable to open database file"):
            database.runs()
    finally:
        away.rename(sqlite.file.parent)
    database.put_meta(a=1)


def state(folder: Path) -> tuple[object, ...]:
    """Everything in the database, as plain SQL sees it."""
    tables = "meta", "trials", "runs", "spans"
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        connection.execute("PRAGMA synchronous=OFF")  # there are thousands of these
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return tuple(connection.execute(f"SELECT * FROM {t}").fetchall() for t in tables)


def test_a_log_cut_anywhere_in_its_last_transaction(tmp_path: Path) -> None:
    """What a power cut leaves: the last transaction is there, or it is not."""
    path = tmp_path / "study.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA page_size=512")  # small, so that every byte can be tried
        connection.execute("VACUUM")
    database = Database(path, create=True)
    database.add_trials(TRIALS, RUNS)
    for step in range(1, 4):
        database.record(save(step))
    before, kept = log_of(path), state_of_copy(path, tmp_path / "before")
    database.record(save(4))
    after, new = log_of(path), state_of_copy(path, tmp_path / "after")
    assert kept != new
    assert before == after[: len(before)]
    assert len(after) - len(before) > 3 * BLOCK
    assert (len(after) - len(before)) % BLOCK == 0

    cut = tmp_path / "cut"
    cut.mkdir()
    main = path.read_bytes()
    for length in range(len(before), len(after) + 1):
        # Every byte of the last block, and of the heads of those before it.
        if length < len(after) - BLOCK and (length - len(before)) % BLOCK > 26:
            continue
        (cut / "study.db").write_bytes(main)
        (cut / "study.db-wal").write_bytes(after[:length])
        assert state(cut) == (new if length == len(after) else kept), length
    database.close()


BLOCK = 24 + 512  # its head and a page


def log_of(path: Path) -> bytes:
    return path.with_name("study.db-wal").read_bytes()


def state_of_copy(path: Path, folder: Path) -> tuple[object, ...]:
    """Of a copy: the last one to close a database empties its log."""
    folder.mkdir()
    for name in ("study.db", "study.db-wal"):
        shutil.copy(path.with_name(name), folder / name)
    return state(folder)


def test_a_cut_log_goes_on(sqlite: Place, database: Database, tmp_path: Path) -> None:
    """The database that a cut left is opened, read and written as any other."""
    database.record(save(2))
    log, folder = log_of(sqlite.file), tmp_path / "cut"
    for lost in (1, 24, 4096, 4120, 4121):
        folder.mkdir()
        shutil.copy(sqlite.file, folder / "study.db")
        (folder / "study.db-wal").write_bytes(log[:-lost])
        found = Database(folder / "study.db")
        assert content(found) == (1, {1}, {0, 1, 2, 3})
        assert [part.path for part in found.parts()] == ["p001"]
        found.record(save(2))
        assert content(found) == (2, {2}, {0, 1, 2, 3})
        found.close()
        shutil.rmtree(folder)
