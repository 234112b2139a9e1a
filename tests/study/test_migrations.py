"""Databases of older and newer schemas. The old ones are made by the SQL of their time."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
import sqlalchemy as sa
from places import Place

from sweeper.errors import SweepError
from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part, Span
from sweeper.study import migrations
from sweeper.study.database import COMPLETE, RUNNING, SCHEMA, Change, RunRow, Trial, Unavailable

SCHEMA_1 = """
CREATE TABLE meta (
    "key" VARCHAR(64) NOT NULL, value JSON NOT NULL,
    PRIMARY KEY ("key")
);
CREATE TABLE trials (
    number INTEGER NOT NULL, origin VARCHAR(16) NOT NULL, config JSON NOT NULL,
    draws JSON NOT NULL, state VARCHAR(16) NOT NULL, result JSON, told INTEGER,
    PRIMARY KEY (number), UNIQUE (told)
);
CREATE TABLE runs (
    id INTEGER NOT NULL, trial INTEGER NOT NULL, seed INTEGER NOT NULL, horizon INTEGER NOT NULL,
    step INTEGER NOT NULL, row_file VARCHAR(255), result JSON,
    PRIMARY KEY (id), FOREIGN KEY(trial) REFERENCES trials (number)
);
CREATE INDEX ix_runs_trial ON runs (trial);
CREATE TABLE spans (
    part VARCHAR(255) NOT NULL, run INTEGER NOT NULL, first INTEGER NOT NULL,
    stop INTEGER NOT NULL,
    PRIMARY KEY (part, run, first), FOREIGN KEY(run) REFERENCES runs (id)
);
INSERT INTO meta VALUES ('schema', '1'), ('elapsed_s', '12.5'), ('ended', 'null');
INSERT INTO trials VALUES
    (0, 'baseline', '{"lr": 0.001}', '{}', 'COMPLETE', '{"robust_loss": -Infinity}', 1),
    (1, 'search', '{"lr": 0.5}', '{"lr": 0.5}', 'RUNNING', 'null', NULL);
INSERT INTO runs VALUES
    (0, 0, 7, 100, 100, NULL, '{"steps": 100, "best_loss": NaN}'),
    (1, 1, 7, 100, 40, 'rows/a.safetensors', NULL);
INSERT INTO spans VALUES
    ('trajectories/a.parquet', 0, 0, 100), ('trajectories/a.parquet', 1, 0, 40);
"""


@pytest.fixture
def old(place: Place) -> Place:
    """A sweep of schema 1. There never was one on a server: that the steps go there counts."""
    if place.schema is None:
        with closing(sqlite3.connect(place.file)) as connection:
            connection.executescript("PRAGMA journal_mode=WAL;" + SCHEMA_1)
    else:
        head = f"CREATE SCHEMA {place.schema}; SET search_path TO {place.schema};"
        with psycopg.connect(str(place.url)) as server:
            server.execute((head + SCHEMA_1).replace("JSON", "TEXT").encode())
    return place


def check_content(place: Place) -> None:
    database = place.open()
    assert database.meta("schema") == SCHEMA == 3
    assert database.meta("elapsed_s") == 12.5
    assert database.trials() == [
        Trial(0, "baseline", {"lr": 1e-3}, {}, COMPLETE, {"robust_loss": float("-inf")}, 1, None),
        Trial(1, "search", {"lr": 0.5}, {"lr": 0.5}, RUNNING, None, None, None),
    ]
    done, open_ = database.runs()
    assert done.result is not None
    assert done.result.pop("best_loss") != done.result  # nan
    assert done == RunRow(Run(0, 0, {"lr": 1e-3}, 7, 100), 100, None, {"steps": 100}, 0)
    assert open_ == RunRow(
        Run(1, 1, {"lr": 0.5}, 7, 100), 40, "rows/a.safetensors", None, deaths=0
    )
    assert database.parts() == [Part("trajectories/a.parquet", (Span(0, 0, 100), Span(1, 0, 40)))]


def test_an_old_database_is_brought_up(old: Place) -> None:
    check_content(old)
    database = old.open()
    assert database.begin_launch() == 1
    told = Trial(1, "search", {"lr": 0.5}, {"lr": 0.5}, "FAIL", None, 2, "it died")
    database.record(Change(deaths={1: 3}, told=(told,), reset=[1]))
    assert database.trials()[1] == told
    assert database.runs()[1].deaths == 3


def test_the_upgraded_tables_are_those_of_a_new_database(old: Place) -> None:
    inspector = sa.inspect(old.open()._reader)
    for table in migrations.tables.metadata.sorted_tables:
        found = {c["name"]: c for c in inspector.get_columns(table.name, schema=old.schema)}
        assert set(found) == {column.name for column in table.columns}
        for column in table.columns:
            assert found[column.name]["nullable"] == column.nullable, column


def test_a_crash_within_a_step_leaves_the_old_schema(
    old: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(connection: sa.Connection) -> None:
        real(connection)
        raise KeyboardInterrupt

    real = migrations.STEPS[1]
    monkeypatch.setitem(migrations.STEPS, 1, die)
    with pytest.raises(KeyboardInterrupt):
        old.open()
    assert number_and_columns(old) == (1, 7)
    monkeypatch.undo()
    check_content(old)
    assert number_and_columns(old) == (3, 8)


def number_and_columns(place: Place) -> tuple[int, int]:
    """The schema number, and the columns of runs, as they are on disk."""
    engine = migrations.sa.create_engine(
        f"sqlite:///{place.url}"
        if place.schema is None
        else str(place.url).replace("postgresql", "postgresql+psycopg", 1)
    )
    try:
        with engine.connect() as connection:
            columns = sa.inspect(connection).get_columns("runs", schema=place.schema)
            table = "meta" if place.schema is None else f"{place.schema}.meta"
            query = sa.text(f"SELECT value FROM {table} WHERE key = 'schema'")
            return int(connection.scalar(query)), len(columns)
    finally:
        engine.dispose()


def test_of_several_processes_one_brings_it_up(
    old: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(connection: sa.Connection) -> None:
        calls.append(threading.get_ident())
        time.sleep(0.2)
        real(connection)

    calls: list[int] = []
    real = migrations.STEPS[1]
    monkeypatch.setitem(migrations.STEPS, 1, slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: old.open(), range(4)))
    assert len(calls) == 1
    check_content(old)


def test_a_file_is_copied_before(sqlite: Place) -> None:
    with closing(sqlite3.connect(sqlite.file)) as connection:
        connection.executescript("PRAGMA journal_mode=WAL;" + SCHEMA_1)
        connection.execute("UPDATE runs SET step = 41 WHERE id = 1")
        connection.commit()
        sqlite.open()  # what is still in the log of this connection is copied, too
    copy = sqlite.file.with_name("study.db.schema-1")
    assert sorted(p.name for p in sqlite.file.parent.glob("*schema-1*")) == [copy.name]
    with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT value FROM meta WHERE key='schema'").fetchone() == (1,)
        assert len(connection.execute("SELECT * FROM runs").fetchone()) == 7
        assert connection.execute("SELECT step FROM runs WHERE id = 1").fetchone() == (41,)


def test_without_a_copy_there_is_no_upgrade(
    sqlite: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(sqlite.file)) as connection:
        connection.executescript(SCHEMA_1)
    (sqlite.file.parent / f".study.db.schema-1.{migrations.os.getpid()}").mkdir()
    with pytest.raises(Unavailable, match="a copy before it: unable to open"):
        sqlite.open()
    assert number_and_columns(sqlite) == (1, 7)


def test_a_newer_schema_is_refused(place: Place) -> None:
    database = place.open(create=True)
    database.put_meta(schema=SCHEMA + 1)
    for create in (False, True):
        with pytest.raises(SweepError) as caught:
            place.open(create=create)
        assert f"has schema {SCHEMA + 1}: a newer version of sweeper made it" in caught.value.what
        assert "Use that version" in caught.value.cure
    assert database.meta("schema") == SCHEMA + 1
