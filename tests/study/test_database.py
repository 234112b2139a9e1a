"""The study's database on SQLite and on PostgreSQL: what it keeps, and what never gets in."""

from __future__ import annotations

import math
import pickle
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from places import Place

from sweeper.errors import SweepError
from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part, Span
from sweeper.study import changes
from sweeper.study.database import (
    COMPLETE,
    FAIL,
    RUNNING,
    SCHEMA,
    Change,
    Database,
    Fenced,
    RunRow,
    Trial,
)

TRIALS = [
    Trial(0, "baseline", {"lr": 1e-3}, {}, RUNNING, None, None),
    Trial(1, "search", {"lr": 0.5, "eps": math.inf}, {"lr": 0.5}, RUNNING, None, None),
]
RUNS = [Run(i, i // 2, TRIALS[i // 2].config, 2**31 - 1 - i % 2, 4_000_000_000) for i in range(4)]
RESULT = {"steps": 2**31 + 7, "best_loss": math.inf, "tail_loss": 1e-300, "curve": [[0, 1.0]]}
SAVE = Change(
    saved={0: 50, 1: 60},
    row_file="rows/a.safetensors",
    part=Part("trajectories/a.parquet", (Span(0, 0, 50), Span(1, 0, 60))),
    meta={"elapsed_s": 1.5},
)
TOLD = Trial(0, "baseline", {"lr": 1e-3}, {}, COMPLETE, {"robust_loss": -math.inf}, 1)
FAILED = Trial(1, "search", TRIALS[1].config, {"lr": 0.5}, FAIL, None, 2, "three lanes died")


def content(database: Database) -> tuple[Any, ...]:
    return database.trials(), database.runs(), database.parts(), database.meta("elapsed_s")


@pytest.fixture
def database(place: Place) -> Database:
    found = place.open(create=True)
    found.add_trials(TRIALS, RUNS)
    return found


def test_it_keeps_what_it_was_given(place: Place, database: Database) -> None:
    database.record(SAVE)
    database.record(Change(done={2: RESULT, 3: RESULT}, told=(TOLD,), deaths={0: 2}))
    again = place.open()
    assert again.trials() == [TOLD, TRIALS[1]]
    assert again.runs() == [
        RunRow(RUNS[0], 50, "rows/a.safetensors", None, 2),
        RunRow(RUNS[1], 60, "rows/a.safetensors", None),
        RunRow(RUNS[2], RESULT["steps"], None, RESULT),
        RunRow(RUNS[3], RESULT["steps"], None, RESULT),
    ]
    assert again.parts() == [SAVE.part]
    assert again.parts([1]) == [Part("trajectories/a.parquet", (Span(1, 0, 60),))]
    assert [row.run.id for row in again.runs([1])] == [2, 3]
    assert again.meta("elapsed_s") == 1.5
    assert again.meta("schema") == SCHEMA
    assert again.meta("nothing") is None
    again.put_meta(nothing=None, some={"a": [math.inf, None, "\0"]})
    assert again.meta("nothing") is None
    assert again.meta("some") == {"a": [math.inf, None, "\0"]}


def test_told_trials_come_in_the_order_of_their_telling(database: Database) -> None:
    database.record(Change(told=(FAILED,)))
    database.record(Change(told=(Trial(**{**as_dict(TOLD), "told": 3}),)))
    assert [trial.number for trial in database.trials(told_after=0)] == [1, 0]
    assert [trial.number for trial in database.trials(told_after=2)] == [0]
    assert database.trials(told_after=0)[0] == FAILED


def as_dict(trial: Trial) -> dict[str, Any]:
    return {name: getattr(trial, name) for name in Trial.__dataclass_fields__}


def test_an_error_may_hold_anything(database: Database) -> None:
    odd = Trial(**{**as_dict(FAILED), "error": "a\0b \ud800 ü"})
    database.record(Change(told=(odd,)))
    assert database.trials()[1].error == "ab ? ü"


def test_reset_runs_start_anew(database: Database) -> None:
    database.record(SAVE)
    database.record(Change(reset=[0], deaths={0: 1}))
    assert database.runs()[0] == RunRow(RUNS[0], 0, None, None, 1)
    assert database.runs()[1].step == 60
    assert database.parts() == [Part("trajectories/a.parquet", (Span(1, 0, 60),))]
    database.record(Change(saved={0: 5}, row_file="b", part=Part("b", (Span(0, 0, 5),))))
    assert database.parts([0]) == [Part("b", (Span(0, 0, 5),))]


def test_a_change_is_recorded_whole_or_not_at_all(database: Database) -> None:
    before = content(database)
    twice = Trial(**{**as_dict(FAILED), "told": 1})
    with pytest.raises(sa.exc.IntegrityError):
        database.record(Change(SAVE.saved, "a", part=SAVE.part, told=(TOLD, twice), meta={"b": 1}))
    with pytest.raises(sa.exc.IntegrityError):
        database.record(Change(saved={0: 1}, part=Part("b", (Span(99, 0, 1),))))
    assert content(database) == before
    assert database.meta("b") is None


def test_a_call_whose_answer_was_lost_can_be_repeated(database: Database) -> None:
    database.add_trials(TRIALS, RUNS)
    other = [Trial(1, "search", {"lr": 7.0}, {"lr": 7.0}, RUNNING, None, None)]
    database.add_trials(other, RUNS[2:])
    assert database.trials() == [TRIALS[0], *other]
    further = Change(added=[replace(RUNS[0], id=77, seed=9)])
    last = Change(done={2: RESULT}, told=(FAILED,), deaths={0: 1}, reset=[1])
    for change in (SAVE, further, last):
        database.record(change)
        once = content(database)
        database.record(change)
        assert content(database) == once


@pytest.mark.parametrize("change", [SAVE, Change(told=(TOLD,)), Change(done={1: RESULT})])
def test_a_trial_that_got_ahead_is_not_added_again(database: Database, change: Change) -> None:
    database.record(change)
    before = content(database)
    with pytest.raises(sa.exc.IntegrityError):
        database.add_trials(TRIALS[:1], RUNS[:2])
    assert content(database) == before


WRITES: list[Callable[[Database], None]] = [
    lambda database: database.record(SAVE),
    lambda database: database.record(Change()),
    lambda database: database.add_trials([Trial(2, "search", {}, {}, RUNNING, None, None)], []),
    lambda database: database.put_meta(elapsed_s=9.0),
]


def test_an_older_launch_writes_nothing(place: Place, database: Database) -> None:
    old, new = place.open(), place.open()
    assert [old.begin_launch(), new.begin_launch()] == [1, 2]
    old.join_launch(1)
    new.join_launch(2)
    before = content(new)
    for write in WRITES:
        with pytest.raises(Fenced, match="another launch of this sweep has taken over") as caught:
            write(old)
        assert isinstance(pickle.loads(pickle.dumps(caught.value)), Fenced)
    assert content(new) == content(old) == before  # reading goes on
    for write in WRITES:
        write(new)
    database.put_meta(free=True)  # never joined
    old.join_launch(old.begin_launch())
    old.put_meta(elapsed_s=10.0)
    with pytest.raises(Fenced):
        new.put_meta(elapsed_s=11.0)
    assert new.meta("elapsed_s") == 10.0


def test_launches_that_begin_at_once_have_numbers_of_their_own(place: Place) -> None:
    place.open(create=True)
    several = [place.open() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(Database.begin_launch, several)) == [1, 2, 3, 4, 5, 6]


def test_a_launch_waits_for_a_write_that_has_begun(place: Place, database: Database) -> None:
    database.join_launch(database.begin_launch())
    begun: list[int] = []
    other = threading.Thread(target=lambda: begun.append(place.open().begin_launch()))
    with database._write() as connection:
        other.start()
        other.join(0.3)
        assert begun == []
        changes.put_meta(connection, {"elapsed_s": 3.0})
    other.join(10)
    assert begun == [2]
    assert database.meta("elapsed_s") == 3.0


def test_a_write_waits_for_a_launch_that_begins(place: Place, database: Database) -> None:
    database.join_launch(database.begin_launch())
    with ThreadPoolExecutor(1) as pool, place.open()._begin() as connection:
        changes.launch(connection, change=True)
        write = pool.submit(database.put_meta, elapsed_s=3.0)
        with pytest.raises(TimeoutError):
            write.result(0.3)
        changes.put_meta(connection, {"launch": 2})
        connection.commit()
        assert isinstance(write.exception(10), Fenced)
    assert database.meta("elapsed_s") is None


def test_several_may_create_it_at_once(place: Place) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: place.open(create=True), range(4)))
    assert {database.meta("schema") for database in found} == {SCHEMA}
    found[0].add_trials(TRIALS, RUNS)
    place.open(create=True)  # leaves what is there
    assert found[1].trials() == TRIALS


def test_it_waits_for_who_writes_to_a_new_file(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE other (x)")
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(Place(file, None).open, create=True)
            with pytest.raises(TimeoutError):
                opening.result(0.3)
            other.execute("COMMIT")
            database = opening.result(30)
    assert database.meta("schema") == SCHEMA
    database.close()


def test_only_one_of_those_who_claim_it_gets_it(place: Place) -> None:
    place.open(create=True)
    several = [place.open() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda d: d.claim(f"/{several.index(d)}"), several))
    assert sorted(got) == [False, False, False, True]
    winner = f"/{got.index(True)}"
    assert several[0].claim(winner)
    several[0].add_trials(TRIALS, RUNS)
    assert not several[0].claim(winner)


def test_reading_and_writing_from_several_threads(database: Database) -> None:
    def work(number: int) -> int:
        database.put_meta(**{f"k{number}": number})
        database.record(Change(saved={number % 4: number}))
        return len(database.runs()) + int(database.meta(f"k{number}"))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(40))) == [4 + number for number in range(40)]


def test_there_is_no_study(tmp_path: Path, place: Place) -> None:
    if place.schema is None:
        place.file.touch()
    with pytest.raises(SweepError, match="holds no study"):
        place.open()
    with pytest.raises(SweepError, match="there is no sweep at"):
        Database(tmp_path / "nowhere" / "study.db")
