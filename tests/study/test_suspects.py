"""Suspects: a run that kills its lane is found and given up, and its neighbours are not blamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from stub_lane import Home, StubLane, spec_with

from sweeper.lane.protocol import Answer
from sweeper.study.study import Study

STRIDE = 10
CRASH = "Fatal Python error: Aborted"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, spec_with())


class Lanes:
    """Lane 0, started anew whenever it dies."""

    def __init__(self, home: Home, capacity: int) -> None:
        self._home, self._capacity = home, capacity
        self.started = 0

    def start(self) -> StubLane:
        self.started += 1
        lane = self._home.lane(f"p{self.started}", 0, capacity=self._capacity, stride=STRIDE)
        self._home.words[lane.who.process] = f"{CRASH} in {lane.who.process}"
        return lane


def train(study: Study, lane: StubLane, room: Callable[[], int], poison: dict[int, int]) -> bool:
    """Train by strides until nothing is left (True) or a run kills the lane (False)."""
    lane.sync(study, room())
    while lane.held:
        if any(lane.held.get(run, -STRIDE) + STRIDE > step for run, step in poison.items()):
            return False
        ended = [run for run, step in lane.held.items() if step + STRIDE >= 100]
        lane.held = {run: step + STRIDE for run, step in lane.held.items() if run not in ended}
        for run in ended:
            lane.held.pop(run, None)
        if ended:
            lane.finish(study, *ended, room=room())
        else:
            lane.sync(study, room())
    return True


def test_a_poison_run_among_64_is_found_and_only_its_trial_fails(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with(seeds=1, budget={"trials": 80}))
    study, lanes, groups = home.study(), Lanes(home, 64), []
    for _ in range(40):
        lane = lanes.start()
        groups.append(len(lane.granted(study, room=64)))
        if train(study, lane, lambda lane=lane: 64 - len(lane.held), {13: 45}):  # type: ignore[misc]
            break
    trials = home.database().trials()
    assert [trial.number for trial in trials if trial.state == "FAIL"] == [13]
    assert [trial.state for trial in trials].count("COMPLETE") == 79
    assert sorted(trial.told or 0 for trial in trials) == list(range(1, 81))
    error = trials[13].error or ""
    assert error.startswith("run 13 (seed 0): its lane died 3 times with it")
    assert error.endswith(f"{CRASH} in p3")
    # All 64, then an eighth of them, then one by one.
    assert groups == [64, 8, 1, 1]
    assert home.deaths() == {13: 3}
    assert study.finished
    assert study.status()["error"] is None


def die(home: Home, study: Study, lane: int) -> None:
    """A new process of a lane says hello, and leaves again."""
    home.lane(f"hello-{home.clock.now}-{lane}", lane).sync(study, leaving=True)
    home.clock.now += 1e-3


def test_the_first_group_is_an_eighth_then_each_goes_alone(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with(seeds=1, budget={"trials": 40}))
    study = home.study()
    home.lane("a", 0).sync(study, room=20)
    groups = []
    for n in range(4):
        groups.append(home.lane(f"b{n}", 0, capacity=32, stride=10).granted(study, room=32))
    # a dies with 20, b0 with 4, then b1 and b2 each with one of these.
    assert groups == [[0, 1, 2, 3], [0], [1], [2]]
    assert home.deaths() == {0: 3, 1: 3, 2: 2, 3: 2} | dict.fromkeys(range(4, 20), 1)
    assert [trial.state for trial in home.database().trials()].count("FAIL") == 2


def test_only_an_empty_lane_gets_suspects_and_nothing_else_beside_them(home: Home) -> None:
    study, busy = home.study(), home.lane("b", 1, capacity=16)
    busy.sync(study, room=1)
    home.lane("a", 0).sync(study, room=3)
    die(home, study, 0)
    assert set(home.deaths()) == {1, 2, 3}
    assert not {1, 2, 3} & set(busy.granted(study, room=4))
    empty = home.lane("c", 2, capacity=16)
    assert empty.granted(study, room=1) == [1]  # not more than it has room for
    assert empty.granted(study, room=8) == []


def test_who_gets_past_the_danger_is_cleared(home: Home) -> None:
    study, lane = home.study(), home.lane("a", 0, stride=STRIDE)
    lane.sync(study, room=2)
    lane.sync(study, held={0: 20, 1: 30})
    die(home, study, 0)
    assert home.deaths() == {0: 1, 1: 1}
    lane = home.lane("b", 0, stride=STRIDE)
    assert lane.granted(study, room=8) == [0, 1]
    lane.sync(study, held={0: 30, 1: 30})
    assert home.deaths() == {0: 1, 1: 1}
    lane.sync(study, held={0: 31, 1: 40})
    assert home.deaths() == {1: 1}
    lane.sync(study, held={0: 41, 1: 41})
    assert home.deaths() == {}
    assert len(lane.granted(study, held={0: 41, 1: 41}, room=2)) == 2


def test_who_ends_is_cleared(home: Home) -> None:
    study = home.study()
    home.lane("a", 0, stride=1000).sync(study, room=2)
    die(home, study, 0)
    lane = home.lane("b", 0)
    lane.sync(study, room=2)
    lane.finish(study, 0)
    assert home.deaths() == {1: 1}


def test_a_lane_may_die_before_it_says_where_a_saved_run_is(home: Home) -> None:
    study, lane = home.study(), home.lane("a", 0)
    lane.sync(study, room=1)
    lane.save(study, {0: 60}, leaving=True)
    home.lane("b", 0, stride=STRIDE).sync(study, room=1)
    die(home, study, 0)  # somewhere between 60 and 70, never heard of
    lane = home.lane("c", 0, stride=STRIDE)
    lane.sync(study, room=1)
    lane.sync(study, held={0: 60})
    assert home.deaths() == {0: 1}
    lane.sync(study, held={0: 71})
    assert home.deaths() == {}


def test_the_loss_of_a_node_is_not_the_fault_of_its_runs(home: Home) -> None:
    study = home.study()
    home.words["a"] = None
    home.lane("a", 0).sync(study, room=3)
    assert home.lane("b", 0).granted(study, room=3) == [0, 1, 2]
    assert home.deaths() == {}


def test_deaths_survive_a_restart_of_the_study(home: Home) -> None:
    study = home.study()
    home.lane("a", 0).sync(study, room=9)
    home.lane("b", 0, capacity=16).sync(study, room=2)
    study.lane_failed("b", "first", final=False)
    assert home.deaths() == {0: 2, 1: 2} | dict.fromkeys(range(2, 9), 1)
    study = home.study()
    assert home.lane("c", 0, capacity=16).granted(study, room=9) == [0]
    assert home.lane("d", 1, capacity=16).granted(study, room=9) == [1]
    assert home.lane("e", 2, capacity=16).granted(study, room=9) == [2, 3]
    study.lane_failed("c", CRASH, final=False)
    assert home.database().trials()[0].state == "FAIL"


def test_a_lane_that_dies_without_a_word_proves_less(home: Home) -> None:
    study = home.study()
    for n in range(5):
        home.words[f"a{n}"] = ""
        assert home.lane(f"a{n}", 0).granted(study, room=1) == [0]
        assert home.database().trials()[0].state == "RUNNING"
    die(home, study, 0)
    assert home.database().trials()[0].error == (
        "run 0 (seed 0): its lane died 5 times with it, the last time with it alone:\n"
        "it left no message"
    )


def test_a_lane_clears_one_group_after_another(tmp_path: Path) -> None:
    """It gives back what is past its danger and saved: the others need not wait for its end."""
    home = Home(tmp_path, spec_with(seeds=1, budget={"trials": 12}))
    study = home.study()
    home.lane("a", 0, stride=STRIDE).sync(study, room=8)
    lane = home.lane("b", 0, capacity=32, stride=STRIDE)
    assert lane.granted(study, room=32) == [0, 1, 2, 3]
    assert lane.save(study, dict.fromkeys(range(4), STRIDE), room=28).drop == ()
    past = dict.fromkeys(range(4), STRIDE + 5)
    assert lane.sync(study, 28, held=past) == Answer()  # they are cleared, and not saved yet
    answer = lane.save(study, past, room=28)
    assert (answer.drop, answer.grant) == ((0, 1, 2, 3), ())
    assert lane.repeat(study).drop == (0, 1, 2, 3)
    assert lane.granted(study, room=32) == [4, 5, 6, 7]
    # Nobody waits for the lane any more: it keeps them, and gets all others to them.
    answer = lane.save(study, dict.fromkeys(range(4, 8), STRIDE + 5), room=28)
    assert answer.drop == ()
    assert [grant.run.id for grant in answer.grant] == [0, 1, 2, 3, 8, 9, 10, 11]
    assert {grant.row_file for grant in answer.grant[:4]} == {"rows/b-4"}
    assert home.deaths() == {}


@pytest.mark.parametrize("is_saved", [True, False])
def test_who_gets_ahead_between_two_deaths_is_not_what_kills(home: Home, is_saved: bool) -> None:
    study = home.study()
    for n in range(6):
        lane = home.lane(f"a{n}", 0, stride=STRIDE)
        assert lane.granted(study, room=1) == [0]
        if is_saved:
            lane.save(study, {0: 5 * n + 5})
        else:
            lane.sync(study, held={0: 5 * n + 5})
        study.lane_failed(f"a{n}", CRASH, final=False)
        assert home.deaths() == {0: 1}
    for n in range(2):
        home.lane(f"b{n}", 0, stride=STRIDE).sync(study, room=1)
        study.lane_failed(f"b{n}", CRASH, final=False)
    assert home.database().trials()[0].state == "FAIL"


def test_where_a_run_died_is_not_known_after_a_restart_a_row_file_clears_it(home: Home) -> None:
    home.lane("a", 0).sync(study := home.study(), room=2)
    die(home, study, 0)
    study, lane = home.study(), home.lane("b", 0)
    lane.sync(study, room=2)
    lane.save(study, {0: 0, 1: 0})  # as it was given
    lane.sync(study, held={0: 90, 1: 90})
    assert home.deaths() == {0: 1, 1: 1}
    lane.save(study, {0: 95})
    assert home.deaths() == {1: 1}


def test_nobody_is_given_up_who_was_not_alone(home: Home) -> None:
    study = home.study()
    home.lane("a", 0).sync(study, room=2)
    home.lane("b", 0).sync(study, room=2)
    study.lane_failed("b", CRASH, final=False)
    study = home.study(hold_back_s=5)
    together = home.lane("c", 0)  # a lane may hold both over a restart of the study
    together.sync(study, held={0: 0, 1: 0})
    study.lane_failed("c", CRASH, final=False)
    assert home.deaths() == {0: 3, 1: 3}
    assert {trial.state for trial in home.database().trials()} == {"RUNNING"}
    assert home.lane("e", 0).granted(study, room=2) == [0]
    study.lane_failed("e", CRASH, final=False)
    assert [trial.state for trial in home.database().trials()] == ["FAIL"]


def test_nobody_is_given_up_beside_a_run_that_was_to_be_dropped(home: Home) -> None:
    study = home.study()
    home.lane("a", 0).sync(study, room=2)
    home.lane("b", 0).sync(study, room=2)  # a is dead; b hangs
    home.clock.now += 100
    other = home.lane("c", 1)
    other.sync(study)
    assert other.granted(study, room=2) == [0]
    woken = home.lane("b", 0)
    assert woken.sync(study, held={0: 0, 1: 0}, number=2).drop == (0,)
    study.lane_failed("b", CRASH, final=False)  # it was 0, which is not dropped yet
    assert home.deaths() == {0: 2, 1: 3}
    assert {trial.state for trial in home.database().trials()} == {"RUNNING"}


def test_the_other_runs_of_a_trial_that_was_given_up_are_dropped(home: Home) -> None:
    study, other = home.study(), home.lane("b", 1)
    home.lane("a", 0).sync(study, room=1)
    assert other.granted(study, room=1) == [1]
    other.save(study, {1: 50})
    for name in ("a1", "a2", "a3"):
        home.lane(name, 0).sync(study, room=1)
    assert home.database().trials()[0].state == "FAIL"
    answer = other.sync(study, room=1)
    assert answer.drop == (1,)
    assert [grant.run.id for grant in answer.grant] == [3]
    late = other.finish(study, 1)
    assert late.drop == ()
    assert home.database().runs()[1].result is None


def test_a_search_goes_on_after_a_trial_was_given_up(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with(search={"sampler": "tpe"}, seeds=1, budget={"trials": 16}))
    study = home.study()
    home.lane("b", 1).sync(study, room=1)
    for name in ("a1", "a2", "a3", "a4"):
        home.lane(name, 0).sync(study, room=1)
    assert home.database().trials()[1].state == "FAIL"
    for name in ("c1", "c2"):
        lane = home.lane(name, 2)
        for run in lane.granted(study, room=1):
            lane.finish(study, run)
        study = home.study()
    assert [trial.state for trial in home.database().trials()].count("COMPLETE") == 2


def test_repeated_lane_failures_without_progress_end_the_sweep(home: Home) -> None:
    study, lane = home.study(), home.lane("a")
    for n in range(2):
        study.lane_failed(f"x{n}", "boom", final=False)
    lane.sync(study, room=1)
    assert study.status()["error"] is None
    lane.finish(study, 0)  # progress: counted from zero again
    for n in range(2):
        study.lane_failed(f"y{n}", "boom", final=False)
        study.lane_failed(f"y{n}", "boom", final=False)  # the same failure, told twice
    assert study.status()["error"] is None
    study.lane_failed("z", "boom", final=False)
    assert study.status()["error"] == "boom"
    assert lane.sync(study).end


def test_a_failure_of_a_lane_that_died_already_counts_once(home: Home) -> None:
    study = home.study()
    for n in range(4):
        home.lane(f"a{n}", n, quiet_s=10).sync(study, room=1)
    home.clock.now += 11
    home.lane("b", 9).sync(study)  # a0 to a3 are taken for dead, with their runs
    for n in range(4):
        study.lane_failed(f"a{n}", "late", final=False)
    assert study.status()["error"] is None
    assert home.deaths() == dict.fromkeys(range(4), 1)


def test_a_failure_that_no_restart_cures_ends_the_sweep_and_blames_nobody(home: Home) -> None:
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=2)
    study.lane_failed("a", "no such task", final=True)
    assert study.status()["error"] == "no such task"
    assert home.deaths() == {}
