"""A database that fails: a call that raises has changed nothing, and may be made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from simulated_storage import verdict
from stub_lane import Home, spec_with
from watched_database import WatchedDatabase

from sweeper.study.database import Database, Unavailable
from sweeper.study.study import Study

LARGE = "x" * 100_000  # more than is left in the pages of a small database


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, spec_with())


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


@contextmanager
def failing(database: WatchedDatabase, how: str) -> Iterator[None]:
    """Writes fail before or after their commit."""
    database.fails = lambda: how
    try:
        yield
    finally:
        database.fails = lambda: ""


def seen(study: Study) -> dict[str, Any]:
    """What anybody can see of a study, but for the time."""
    return {key: value for key, value in study.status().items() if key not in ("lanes", "waits")}


def refused(study: Study, call: Callable[[], object]) -> None:
    """The call raises, and nothing is to be seen of it."""
    before = seen(study)
    with pytest.raises(Unavailable):
        call()
    assert seen(study) == before


def test_a_report_on_a_full_disk(home: Home) -> None:
    database = home.database()
    study, lane = home.study(database=database), home.lane("a")
    lane.sync(study, room=4)
    with full_disk(database):
        refused(study, lambda: lane.finish(study, 0, 1, r1=verdict(100, note=LARGE)))
        refused(study, lambda: lane.repeat(study))
        assert home.database().trials()[0].state == "RUNNING"
        assert home.database().parts() == []
    answer = lane.repeat(study)
    assert answer.drop == ()
    trial = home.database().trials()[0]
    assert (trial.state, trial.told) == ("COMPLETE", 1)
    assert study.status()["told"] == 1
    assert len(home.database().parts()) == 1


def test_new_trials_on_a_full_disk(home: Home) -> None:
    """The same proposals are used: none is lost, none comes twice."""
    home.spec = spec_with(budget={"trials": 200})
    undisturbed = Home(fresh_folder(home), home.spec)
    undisturbed.lane("a").sync(undisturbed.study(), room=400)
    database = home.database()
    study, lane = home.study(database=database), home.lane("a")
    with full_disk(database):
        refused(study, lambda: lane.sync(study, room=400))
        refused(study, lambda: lane.repeat(study))
        refused(study, lambda: home.lane("b", 1).sync(study, room=3))
        assert home.database().trials() == []
    answer = home.lane("b", 1).sync(study, room=3)
    assert [grant.run.id for grant in answer.grant] == [0, 1, 2]
    assert [grant.run.id for grant in lane.repeat(study).grant] == list(range(3, 400))
    configs = [trial.config for trial in home.database().trials()]
    assert configs == [trial.config for trial in undisturbed.database().trials()]


def fresh_folder(home: Home) -> Path:
    folder = home.path.parent / "undisturbed"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("how", ["before", "after"])
def test_saved_rows(home: Home, how: str) -> None:
    database = WatchedDatabase(home.path)
    study, lane = home.study(database=database), home.lane("a")
    lane.sync(study, room=2)
    with failing(database, how):
        refused(study, lambda: lane.save(study, {0: 40, 1: 40}))
    assert lane.repeat(study).drop == ()
    assert lane.save(study, {0: 60, 1: 60}).obsolete == ("rows/a-2",)
    assert [row.step for row in home.database().runs()] == [60, 60]
    assert study.status()["run_steps"] == 120
    for part in home.database().parts():
        assert {(span.first, span.stop) for span in part.spans} <= {(0, 40), (40, 60)}


@pytest.mark.parametrize("how", ["before", "after"])
def test_what_was_begun_is_finished_before_anything_else(home: Home, how: str) -> None:
    """Whether it was committed or not, the next one to be told is told after it."""
    database = WatchedDatabase(home.path)
    study, lane, other = home.study(database=database), home.lane("a", 0), home.lane("b", 1)
    lane.sync(study, room=2)
    other.sync(study, room=2)
    with failing(database, how):
        refused(study, lambda: lane.finish(study, 0, 1))
        refused(study, lambda: other.finish(study, 2, 3))
    other.repeat(study)
    told = {trial.number: trial.told for trial in home.database().trials()}
    assert told == {0: 1, 1: 2}
    assert lane.repeat(study).drop == ()
    assert study.status()["told"] == 2


@pytest.mark.parametrize("how", ["before", "after"])
def test_new_trials_are_added_though_who_asked_for_them_is_gone(home: Home, how: str) -> None:
    database = WatchedDatabase(home.path)
    study = home.study(database=database)
    with failing(database, how):
        refused(study, lambda: home.lane("a", 0).sync(study, room=3))
    assert home.lane("b", 1).granted(study, room=1) == [0]
    assert len(home.database().trials()) == 2
    assert home.lane("c", 2).granted(study, room=9) == list(range(1, 10))


@pytest.mark.parametrize("how", ["before", "after"])
def test_deaths_are_counted_once(home: Home, how: str) -> None:
    database = WatchedDatabase(home.path)
    study, other = home.study(database=database), home.lane("b", 1)
    home.lane("a", 0, quiet_s=10).sync(study, room=2)
    home.lane("c", 2, quiet_s=10).sync(study, room=2)
    other.sync(study)
    home.clock.now += 11
    with failing(database, how):
        for _ in range(2):
            refused(study, lambda: other.sync(study, room=9))
    assert set(other.granted(study, room=9)) == {0, 1}
    assert home.deaths() == {0: 1, 1: 1, 2: 1, 3: 1}


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_failure_that_is_told_again_counts_once(home: Home, how: str) -> None:
    database = WatchedDatabase(home.path)
    study = home.study(database=database)
    home.lane("a", 0).sync(study, room=2)
    with failing(database, how):
        for _ in range(3):
            refused(study, lambda: study.lane_failed("a", "boom", final=False))
    study.lane_failed("a", "boom", final=False)
    assert home.deaths() == {0: 1, 1: 1}
    assert study.status()["error"] is None


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_run_is_given_up_once(home: Home, how: str) -> None:
    database = WatchedDatabase(home.path)
    study = home.study(database=database)
    for name in ("a1", "a2"):
        home.lane(name, 0).sync(study, room=1)
        study.lane_failed(name, "Traceback: boom", final=False)
    home.lane("a3", 0).sync(study, room=1)
    with failing(database, how):
        refused(study, lambda: study.lane_failed("a3", "Traceback: boom", final=False))
        refused(study, lambda: home.lane("b", 1).sync(study, room=1))
    assert home.lane("b", 1).granted(study, room=1) == [2]
    trial = home.database().trials()[0]
    assert (trial.state, trial.told) == ("FAIL", 1)
    assert study.status()["told"] == 1


def test_lanes_that_report_in_vain_are_not_silent(home: Home) -> None:
    database = WatchedDatabase(home.path)
    study = home.study(database=database)
    lane, other = home.lane("a", 0, quiet_s=10), home.lane("b", 1, quiet_s=10)
    lane.sync(study, room=2)
    other.sync(study, room=2)
    with failing(database, "before"):
        refused(study, lambda: lane.save(study, {0: 40, 1: 40}))
        for _ in range(5):
            home.clock.now += 4
            refused(study, lambda: lane.repeat(study))
            refused(study, lambda: other.sync(study, held={2: 9, 3: 9}))
    home.clock.now += 4
    assert other.sync(study, room=2).drop == ()
    assert lane.repeat(study).drop == ()
    assert home.deaths() == {}


def test_an_error_of_our_own_stays_with_who_made_it(home: Home) -> None:
    study, lane, other = home.study(), home.lane("a", 0), home.lane("b", 1)
    lane.sync(study, room=1)
    other.sync(study, room=1)
    with pytest.raises(Exception, match="not JSON serializable"):
        lane.finish(study, 0, r0=verdict(100, evaluation=object()))
    other.finish(study, 1)
    assert home.database().runs()[1].result is not None
