"""A study on a PostgreSQL server: locks, sweeps side by side, and a server that dies."""

from __future__ import annotations

import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from places import Place
from postgres_server import Server

from sweeper.errors import SweepError
from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part, Span
from sweeper.study import engine
from sweeper.study.database import (
    RUNNING,
    Change,
    Database,
    Fenced,
    Trial,
    Unavailable,
    check_server,
)
from sweeper.study.engine import schema_of

TRIALS = [Trial(0, "search", {"lr": 1.0}, {}, RUNNING, None, None)]
RUNS = [Run(n, 0, {"lr": 1.0}, n, 100) for n in range(2)]
SAVE = Change({0: 5, 1: 5}, "rows/5", part=Part("p", (Span(0, 0, 5), Span(1, 0, 5))))


def query(server: Server, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        found = connection.execute(text.encode())
        return found.fetchall() if found.description else []


# Locks


def test_one_launch_at_a_time(postgres: Place, server: Server) -> None:
    first, second = postgres.open(create=True), postgres.open()
    other = Database(server.url, schema=f"{postgres.schema}_other", create=True)
    with first.lock():
        for _ in range(2):
            with pytest.raises(SweepError, match="running already") as caught, second.lock():
                pass
            assert str(postgres.schema) in caught.value.where
        with other.lock():
            first.put_meta(a=1)
    with second.lock():
        pass
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        stack.enter_context(first.lock())
        waiting = pool.submit(wait_for_lock, second)
        time.sleep(0.2)
        assert not waiting.done()
        stack.close()
        waiting.result(5)
    with pytest.raises(KeyError), second.lock():
        raise KeyError
    with first.lock():
        pass
    other.close()


def wait_for_lock(database: Database) -> None:
    with database.lock(wait_s=5):
        pass


def test_a_process_that_died_has_no_lock(postgres: Place, server: Server) -> None:
    first, second = postgres.open(create=True), postgres.open()
    with ExitStack() as stack:
        stack.enter_context(first.lock())
        holders = "SELECT pid FROM pg_locks WHERE locktype = 'advisory'"
        (pid,) = query(server, holders)[0]
        query(server, f"SELECT pg_terminate_backend({pid}, 5000)")
        stack.enter_context(second.lock())
        first.put_meta(a=1)  # what keeps it from writing is the number of the launch
        first.join_launch(second.begin_launch() - 1)
        with pytest.raises(Fenced):
            first.put_meta(a=2)


def test_no_wait_is_for_ever(postgres: Place) -> None:
    database = postgres.open(create=True)
    database.put_meta(a=1)
    with database._read() as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "30s"
        idle = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout")
        assert idle.scalar() == "1min"


def test_a_row_that_stays_locked_is_unavailable(postgres: Place, server: Server) -> None:
    database = postgres.open(create=True)
    database.join_launch(database.begin_launch())
    with database._read() as connection:  # the only one in its pool
        connection.exec_driver_sql("SET lock_timeout = 100")
        connection.commit()
    with psycopg.connect(server.url) as holder:
        holder.execute(f"SELECT * FROM {postgres.schema}.meta FOR UPDATE".encode())
        with pytest.raises(Unavailable, match="lock timeout"):
            database.put_meta(a=1)
    database.put_meta(a=1)


# Side by side


def test_two_sweeps_in_one_database_see_nothing_of_each_other(
    postgres: Place, server: Server
) -> None:
    first = postgres.open(create=True)
    second = Database(server.url, schema=f"{postgres.schema}-B.b", create=True)
    first.add_trials(TRIALS, RUNS)
    first.record(SAVE)
    first.join_launch(first.begin_launch())
    assert second.trials() == second.runs() == second.parts() == []
    assert second.begin_launch() == 1
    second.add_trials(TRIALS, RUNS)
    assert second.runs()[0].step == 0
    assert first.runs()[0].step == 5
    second.close()


def test_a_schema_has_a_plain_name_of_its_own() -> None:
    names = ["perceptron", "digits_2", "A", "a", "a-b", "a.b", "x" * 57, "x" * 58, "x" * 100]
    schemas = [schema_of(name) for name in names]
    assert schemas[:2] == ["sweep_perceptron", "sweep_digits_2"]
    assert schemas[3] == "sweep_a"
    assert len(set(schemas)) == len(names)
    assert all(len(s) <= 63 and s.isascii() and s == s.lower() for s in schemas)
    assert schema_of("a-b") == "sweep_a_b_" + schema_of("a-b")[-8:]


# A server that dies


def test_a_server_that_was_killed_is_unavailable_and_comes_back(
    postgres: Place, dying: Server
) -> None:
    database, other = postgres.open(create=True), postgres.open()
    database.join_launch(database.begin_launch())
    database.add_trials(TRIALS, RUNS)
    with database.lock():
        dying.kill()
        for call in (
            lambda: database.record(SAVE),
            lambda: database.put_meta(a=1),
            lambda: database.add_trials(TRIALS, RUNS),
            lambda: other.runs(),
            lambda: other.meta("a"),
            lambda: other.begin_launch(),
            lambda: other.lock().__enter__(),
            lambda: postgres.open(),
        ):
            start = time.monotonic()
            with pytest.raises(Unavailable) as caught:
                call()
            assert time.monotonic() - start < 5
            assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
            assert "\n" not in str(caught.value)
            assert str(postgres.schema) in str(caught.value)
        dying.start()
        database.record(SAVE)
        assert other.runs()[1].step == 5
        assert other.parts() == [SAVE.part]
        assert database.meta("launch") == 1
    with other.lock():
        pass


def test_a_server_that_restarted_unseen_is_no_trouble(postgres: Place, dying: Server) -> None:
    database = postgres.open(create=True)
    dying.kill()
    dying.start()
    database.put_meta(a=1)
    assert database.meta("a") == 1


def test_a_write_that_was_under_way_left_nothing(postgres: Place, dying: Server) -> None:
    database = postgres.open(create=True)
    database.add_trials(TRIALS, RUNS)
    with pytest.raises(Unavailable), database._write() as connection:
        connection.exec_driver_sql(f"UPDATE {postgres.schema}.runs SET step = 99")
        dying.kill()
    dying.start()
    assert [row.step for row in database.runs()] == [0, 0]
    database.record(SAVE)
    assert [row.step for row in database.runs()] == [5, 5]


def test_a_server_that_has_become_a_standby_is_unavailable(
    postgres: Place, server: Server
) -> None:
    postgres.open(create=True)
    url = f"{server.url}&options=-c%20default_transaction_read_only=on"
    database = Database(url, schema=postgres.schema)
    with pytest.raises(Unavailable, match="read-only transaction"):
        database.put_meta(a=1)
    assert database.meta("a") is None
    database.close()


# Before anything starts


def test_a_good_server_passes(server: Server) -> None:
    check_server(server.url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://nobody@127.0.0.1:1/d", "refused"),
        ("postgresql://u@/d?host=/nowhere", "No such file"),
        ("postgresql://u@/d?nonsense=1", "nonsense"),
    ],
)
def test_an_unreachable_server_is_one_message(url: str, reason: str) -> None:
    start = time.monotonic()
    with pytest.raises(SweepError) as caught:
        check_server(url)
    assert time.monotonic() - start < 6
    assert "can't be reached" in str(caught.value)
    assert reason in str(caught.value)
    assert "PGPASSWORD" in caught.value.cure
    assert "\n" not in str(caught.value)


def test_a_database_that_is_not_there(server: Server) -> None:
    with pytest.raises(SweepError, match='database "nope" does not exist'):
        check_server(server.url.replace("/postgres?", "/nope?"))


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(SweepError, match=r"pip install 'sweeper\[postgres\]'"):
        check_server("postgresql://h/d")


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "u:secret@h", "postgresql://h:secret/d"])
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(SweepError) as caught:
        Database(url)
    assert "secret" not in str(caught.value)


def test_without_the_right_to_make_schemas(postgres: Place, server: Server) -> None:
    query(server, "CREATE ROLE guest LOGIN")
    url = server.url.replace("postgres@", "guest@")
    with pytest.raises(SweepError, match=r"permission denied for .* GRANT CREATE"):
        Database(url, schema=postgres.schema, create=True)
    query(server, f"CREATE SCHEMA {postgres.schema} AUTHORIZATION guest")  # somebody else made it
    Database(url, schema=postgres.schema, create=True).close()
