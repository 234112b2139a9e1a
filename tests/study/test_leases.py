"""Leases: who may train a run and whose reports count, when processes die, hang and come back."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated_storage import verdict
from stub_lane import Home, StubLane, spec_with

from sweeper.lane.protocol import Answer
from sweeper.lane.trajectories import Part, Span
from sweeper.study.study import Study


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, spec_with())


def spans_of(home: Home, run: int) -> list[tuple[int, int]]:
    parts = home.database().parts([run])
    return sorted((span.first, span.stop) for part in parts for span in part.spans)


def step_of(home: Home, run: int) -> int:
    return home.database().runs()[run].step


def test_a_lost_answer_is_granted_again(home: Home) -> None:
    study, lane = home.study(), home.lane("a")
    first = lane.granted(study, room=2)
    assert lane.granted(study, held={}, room=2) == first == [0, 1]
    assert lane.repeat(study).grant == lane.repeat(study).grant != ()


def test_a_repeated_report_is_harmless(home: Home) -> None:
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=3)
    lane.save(study, {0: 40, 1: 40})
    assert lane.repeat(study).drop == ()
    lane.finish(study, 0, 1)
    lane.repeat(study)
    assert lane.repeat(home.study()).drop == ()
    assert study.status()["told"] == 1
    assert spans_of(home, 0) == spans_of(home, 1) == [(0, 40), (40, 100)]


def test_a_repeated_report_is_known_by_the_next_study(home: Home) -> None:
    lane = home.lane("a")
    study = home.study()
    lane.sync(study, room=3)
    lane.save(study, {0: 40})
    assert lane.repeat(home.study()).drop == ()
    assert spans_of(home, 0) == [(0, 40)]


def test_an_older_report_after_a_newer_one_says_nothing(home: Home) -> None:
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=1)
    lane.save(study, {0: 40}, room=5)
    older = lane.last
    lane.save(study, {0: 60})
    assert older is not None
    assert study.sync(older) == Answer()
    assert lane.sync(study).drop == ()
    assert spans_of(home, 0) == [(0, 40), (40, 60)]


def test_a_silent_lane_loses_its_runs_and_its_late_report_is_refused(home: Home) -> None:
    home.words["a"] = None
    study, silent, other = home.study(), home.lane("a", 0), home.lane("b", 1)
    silent.sync(study, room=2)
    silent.save(study, {0: 40})
    home.clock.now += 1000
    answer = other.sync(study, room=2)
    assert [(g.run.id, g.row_file) for g in answer.grant] == [(0, "rows/a-2"), (1, None)]
    late = silent.finish(study, 0)
    assert home.database().runs()[0].result is None
    assert spans_of(home, 0) == [(0, 40)]
    assert late.drop == (1,)
    assert not late.gone
    assert silent.sync(study, held={0: 100}).drop == (0,)
    assert 0 not in [g.run.id for g in late.grant]


def test_a_lane_that_wakes_up_goes_on_with_what_nobody_took(home: Home) -> None:
    home.words["a"] = None
    study, lane, other = home.study(), home.lane("a", 0, quiet_s=10), home.lane("b", 1)
    lane.sync(study, room=4)
    home.clock.now += 11
    assert other.granted(study, room=1) == [0]
    assert lane.sync(study).drop == (0,)
    lane.finish(study, 1)
    assert step_of(home, 1) == 100


def test_silence_is_what_the_lane_itself_calls_silence(home: Home) -> None:
    home.words["a"] = None
    study, other = home.study(), home.lane("b", 1)
    lane = home.lane("a", 0, quiet_s=300)  # it compiles
    lane.sync(study, room=2)
    home.clock.now += 299
    assert other.granted(study, room=1) == [2]
    home.clock.now += 2
    assert other.granted(study, room=1) == [0]


def test_nobody_is_silent_while_the_database_keeps_everybody_waiting(home: Home) -> None:
    database = home.database()
    study, lane, other = home.study(database=database), home.lane("a", 0), home.lane("b", 1)
    lane.sync(study, room=2)
    other.sync(study, room=2)
    record = database.record

    def slowly(change: object) -> None:
        home.clock.now += 100
        record(change)  # type: ignore[arg-type]

    database.record = slowly  # type: ignore[assignment, method-assign]
    other.save(study, {2: 10})
    assert other.sync(study, room=4).grant[0].run.id == 4
    assert lane.sync(study).drop == ()


def test_a_restarted_lane_takes_over_from_its_own_dead_process(home: Home) -> None:
    home.words["a"] = None
    study, dead = home.study(), home.lane("a", 0)
    dead.sync(study, room=4)
    assert home.lane("a2", 0).granted(study, room=4) == [0, 1, 2, 3]
    # The old one may live after all: it has no say any more, for ever.
    for _ in range(2):
        assert dead.finish(study, 0) == Answer(gone=True)
    assert step_of(home, 0) == 0
    assert dead.save(study, {1: 50}) == Answer(gone=True)
    assert home.database().parts() == []


def test_a_process_that_left_or_failed_has_no_say_any_more(home: Home) -> None:
    study, leaver, failed = home.study(), home.lane("a", 0), home.lane("b", 1)
    leaver.sync(study, room=2)
    failed.sync(study, room=2)
    assert leaver.save(study, {0: 30, 1: 30}, leaving=True).end
    study.lane_failed("b", "boom", final=False)
    assert leaver.repeat(study) == Answer(gone=True)
    assert failed.finish(study, 2) == Answer(gone=True)
    answer = home.lane("c", 2, capacity=16).sync(study, room=9)
    # Suspects first and apart; what the leaver had is nobody's fault.
    assert [grant.run.id for grant in answer.grant] == [2, 3]
    answer = home.lane("d", 3, capacity=16).sync(study, room=3)
    assert [(g.run.id, g.row_file) for g in answer.grant][:2] == [(0, "rows/a-2"), (1, "rows/a-2")]


def test_a_report_that_does_not_continue_what_is_on_disk_is_refused(home: Home) -> None:
    home.words |= {"a": None, "b": None}
    study, woken, other = home.study(), home.lane("a", 0), home.lane("b", 1)
    woken.sync(study, room=2)
    woken.save(study, {0: 10, 1: 10})
    home.clock.now += 1000
    other.sync(study, room=2)
    other.save(study, {0: 40})
    home.clock.now += 1000  # now the other is gone, and the first one wakes up
    home.lane("c", 2).sync(study)
    answer = woken.save(study, {0: 50, 1: 50})
    assert answer.drop == (0,)
    assert spans_of(home, 0) == [(0, 10), (10, 40)]
    assert spans_of(home, 1) == [(0, 10), (10, 50)]
    # It gets the run once more, as it is on disk.
    answer = woken.sync(study, room=1)
    assert [(g.run.id, g.row_file) for g in answer.grant] == [(0, "rows/b-2")]


def test_who_was_refused_gives_way_to_who_is_right(home: Home) -> None:
    woken, right = home.lane("a", 0), home.lane("b", 1)
    study = home.study()
    home.words["a"] = None
    woken.sync(study, room=1)
    home.clock.now += 1000
    right.sync(study, room=1)
    right.save(study, {0: 40})
    study = home.study()  # it hears the wrong one first
    assert woken.sync(study, held={0: 10}).drop == ()
    assert woken.save(study, {0: 50}).drop == (0,)
    right.finish(study, 0)
    assert spans_of(home, 0) == [(0, 40), (40, 100)]


@pytest.mark.parametrize(
    "spans", [(), ((10, 99),), ((11, 100),), ((0, 100),), ((10, 50), (60, 100)), ((10, 50),)]
)
def test_an_end_that_does_not_continue_what_is_on_disk_is_refused(
    home: Home, spans: tuple[tuple[int, int], ...]
) -> None:
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=1)
    lane.save(study, {0: 10})
    part = Part("x.parquet", tuple(Span(0, *span) for span in spans))
    lane.sync(study, held={}, done={0: verdict(100)}, part=part)
    assert home.database().runs()[0].result is None
    assert spans_of(home, 0) == [(0, 10)]
    assert lane.granted(study, held={}, room=1) == [0]


def test_spans_of_one_run_may_come_in_several_pieces(home: Home) -> None:
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=1)
    part = Part("x.parquet", (Span(0, 40, 100), Span(0, 0, 40)))
    lane.sync(study, held={}, done={0: verdict(100)}, part=part)
    assert spans_of(home, 0) == [(0, 40), (40, 100)]


def test_a_row_without_progress_is_of_no_use(home: Home) -> None:
    """The row file before may be in use by now, and the one of a repeated report be removed."""
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=2)
    assert lane.save(study, {0: 0, 1: 0}).obsolete == ("rows/a-2",)
    lane.save(study, {0: 40, 1: 40})
    assert lane.save(study, {0: 40, 1: 50}).obsolete == ()
    assert lane.save(study, {0: 40}).obsolete == ("rows/a-5",)
    assert lane.repeat(study).drop == ()
    assert [row.row_file for row in home.database().runs()] == ["rows/a-3", "rows/a-4"]


def lose(study: Study, lane: StubLane, *runs: int) -> Answer:
    for run in runs:
        lane.held.pop(run, None)
    return lane.sync(study, lost=runs)


def test_lost_rows_start_anew(home: Home) -> None:
    home.words["a"] = None
    study, lane = home.study(), home.lane("a", 0)
    lane.sync(study, room=2)
    lane.save(study, {0: 40, 1: 40})
    other = home.lane("a2", 0)
    assert other.granted(study, room=2) == [0, 1]
    answer = lose(study, other, 0)
    assert [(g.run.id, g.row_file) for g in answer.grant] == [(0, None)]
    assert (step_of(home, 0), step_of(home, 1)) == (0, 40)
    assert (spans_of(home, 0), spans_of(home, 1)) == ([], [(0, 40)])
    assert lose(study, other, 1).obsolete == ("rows/a-2",)
    other.finish(study, 0, 1)
    assert spans_of(home, 0) == spans_of(home, 1) == [(0, 100)]


def test_only_who_was_given_this_very_row_can_call_it_lost(home: Home) -> None:
    home.words |= {"b": None, "c": None, "d": None}
    study, first, hung = home.study(), home.lane("a", 0), home.lane("b", 1, quiet_s=10)
    first.sync(study, room=1)
    first.save(study, {0: 40}, leaving=True)
    assert hung.granted(study, room=1) == [0]  # and waits for a slot with it
    home.clock.now += 11
    other = home.lane("c", 2)
    assert other.granted(study, room=1) == [0]
    other.save(study, {0: 80})  # the row file before is removed
    home.clock.now += 1000
    home.lane("d", 3).sync(study)
    # The hung lane wakes up, gets its lease back and finds no row file.
    assert hung.sync(study).drop == ()
    answer = lose(study, hung, 0)
    assert [(g.run.id, g.row_file) for g in answer.grant] == [(0, "rows/c-2")]
    assert step_of(home, 0) == 80
    # Nor is the same report believed when it comes again.
    assert hung.repeat(study).grant == answer.grant
    assert step_of(home, 0) == 80
    # Nor does a new study believe it, which has given nothing out yet.
    lose(home.study(), hung, 0)
    assert step_of(home, 0) == 80
