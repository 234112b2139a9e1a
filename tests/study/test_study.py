"""The study under a lane that holds runs without training them: telling, restarts, budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from simulated_storage import verdict
from stub_lane import Home, finish_all, spec_with

from sweeper.lane.trajectories import Part, Span


def test_baseline_first_and_every_trial_told_once(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with())
    finish_all(home.study(), home.lane("a"))
    trials = home.database().trials()
    assert [trial.origin for trial in trials] == ["baseline"] + ["search"] * 11
    assert trials[0].config["lr"] == 1e-3
    assert sorted(trial.told or 0 for trial in trials) == list(range(1, 13))
    assert all(trial.state == "COMPLETE" for trial in trials)
    assert len({repr(trial.config) for trial in trials}) == 12


def test_a_new_study_goes_on_where_the_old_one_was(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with())
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=6)
    lane.finish(study, 0, 1, 2)
    lane.save(study, {3: 50})
    reborn = home.study(hold_back_s=5)
    # Runs that were open are held back for the lane that holds them ...
    assert not set(home.lane("z", 7).granted(reborn, room=1)) & {3, 4, 5}
    assert lane.sync(reborn).drop == ()
    # ... and go to anybody after that.
    later = home.study(hold_back_s=5)
    home.clock.now += 6
    assert home.lane("n").granted(later, room=1) == [3]
    finish_all(home.study(), home.lane("m"))
    assert len(home.database().trials()) == 12
    parts = home.database().parts([3])
    spans = sorted((span.first, span.stop) for part in parts for span in part.spans)
    assert spans == [(0, 50), (50, 100)]


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe", "nsga2", "cmaes"])
def test_a_restart_proposes_what_an_uninterrupted_search_would(
    tmp_path: Path, sampler: str
) -> None:
    spec = spec_with(search={"sampler": sampler}, seeds=1, budget={"trials": 24})
    configs = []
    for name, restarts in (("whole", False), ("broken", True)):
        (tmp_path / name).mkdir()
        home = Home(tmp_path / name, spec)
        study = home.study()
        for run in range(24):
            lane = home.lane(f"lane-{run}")
            assert lane.granted(study, room=1) == [run]
            lane.finish(study, run)
            study = home.study() if restarts and run % 5 == 0 else study
        configs.append([trial.config for trial in home.database().trials()])
    assert configs[0] == configs[1]


def test_an_adaptive_sampler_has_about_an_eighth_open(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with(search={"sampler": "tpe"}, budget={"trials": 32}))
    study, lane = home.study(), home.lane("a", capacity=16)
    granted = [len(lane.granted(study, room=100)) for _ in range(4)]
    assert granted == [4, 4, 2, 0]  # by quarters of the pack, up to 5 trials of 2 seeds
    assert study.status()["running"] == 5


@pytest.mark.parametrize(
    ("budget", "trials"), [({"run_steps": 500}, 3), ({"time": "50s"}, 3), ({"trials": 5}, 5)]
)
def test_budgets_end_the_search(tmp_path: Path, budget: dict[str, Any], trials: int) -> None:
    home = Home(tmp_path, spec_with(budget={"trials": 100, **budget}))
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=2)
    for _ in range(100):
        if study.finished:
            break
        home.clock.now += 20
        lane.finish(study, *lane.held, room=2)
    assert study.finished
    assert len(home.database().trials()) == trials


def test_steps_of_which_no_row_is_saved_count_for_the_budget(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with(budget={"trials": 100, "run_steps": 150}))
    study, lane, other = home.study(), home.lane("a", 0), home.lane("b", 1)
    lane.sync(study, room=2)
    lane.sync(study, held={0: 90, 1: 60})
    assert study.status()["run_steps"] == 150
    assert other.granted(study, room=2) == []
    lane.save(study, {0: 95, 1: 60})  # they count once
    assert study.status()["run_steps"] == 155
    lane.sync(study, leaving=True)
    assert study.status()["run_steps"] == 155


def test_time_is_counted_over_restarts(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with(budget={"time": "60s", "trials": 100}))
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=2)
    home.clock.now += 50
    lane.finish(study, *lane.held)
    study = home.study()
    home.clock.now += 20
    assert study.finished


def test_row_files_that_nobody_needs_are_named(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with())
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=2)
    assert lane.save(study, {0: 10, 1: 10}).obsolete == ()
    assert lane.save(study, {0: 20}).obsolete == ()
    assert lane.save(study, {1: 30}).obsolete == ("rows/a-2",)
    assert lane.finish(study, 0).obsolete == ("rows/a-3",)
    # A new study knows them too.
    assert home.lane("a").sync(home.study(), room=1).obsolete == ()
    assert lane.finish(home.study(), 1).obsolete == ("rows/a-4",)


def test_diverged_runs_are_priced_and_told(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with(budget={"trials": 2}))
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=8)
    nan = verdict(100, finite=False, failed=True, tail_loss=None, first_loss=100.0)
    lane.finish(study, 0, 1, 2, 3, r1=nan, r2=nan, r3=nan)
    trial = home.database().trials()[1]
    assert trial.result is not None
    assert trial.result["robust_loss"] == pytest.approx(2.0)
    assert trial.result["failure_fraction"] == 1.0
    assert trial.result["violation"] == 10.0
    assert study.finished


def test_the_step_that_turned_non_finite_is_on_record_and_does_not_count(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with())
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=1)
    lane.save(study, {0: 10})
    nan = verdict(17, finite=False, failed=True, tail_loss=None)
    lane.sync(study, held={}, done={0: nan}, part=Part("nan.parquet", (Span(0, 10, 18),)))
    row = home.database().runs()[0]
    assert row.step == 17
    assert row.result == nan


def test_a_closed_study_gives_nothing_out_and_takes_everything(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with())
    study, lane, other = home.study(), home.lane("a", 0), home.lane("b", 1)
    lane.sync(study, room=2)
    study.close()
    answer = lane.sync(study, room=2)
    assert answer.end
    assert answer.grant == answer.drop == ()
    assert other.sync(study, room=2) == answer
    lane.save(study, {0: 60, 1: 60})
    assert lane.sync(study, held={}, leaving=True).end
    assert not study.finished
    assert study.status()["lanes"] == study.status()["lanes"][-1:]  # b has not left yet
    # The next launch goes on from there.
    again = home.lane("c").sync(home.study(), room=2)
    assert [grant.row_file for grant in again.grant] == ["rows/a-3", "rows/a-3"]


def test_the_seconds_of_all_lanes_add_up(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with())
    study = home.study()
    home.lane("a", 0).sync(study, waited_s=1.0, lived_s=10.0)
    home.lane("a", 0).sync(study, waited_s=2.0, lived_s=30.0)
    home.lane("b", 0).sync(study, waited_s=0.5, lived_s=5.0)  # in the place of a
    leaving = home.lane("c", 1)
    leaving.sync(study, waited_s=0.25, lived_s=4.0)
    leaving.sync(study, leaving=True)
    home.clock.now += 3
    waits = study.status()["waits"]
    assert (waits["waited_s"], waits["lane_s"]) == (2.75, 39.0)
    health = home.database().meta("health")
    assert (health["waits"]["waited_s"], health["waits"]["lane_s"]) == (2.75, 39.0)


def test_empty_slots_wait_only_while_there_is_something_to_search(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with(budget={"trials": 2}, seeds=1))
    study, lane = home.study(), home.lane("a")
    assert not lane.sync(study, room=1).is_dry
    assert not lane.sync(study, room=1).is_dry  # it got what it wanted
    assert lane.sync(study, room=1).is_dry
    assert not lane.sync(study, room=0).is_dry


def test_what_trials_came_to_is_in_the_database_alone(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with())
    study = home.study()
    finish_all(study, home.lane("a"))
    best = study.status()["best"]
    assert all(trial.result is None for trial in study._book.trials.values())
    assert all(row.result is None for row in study._book.runs.values())
    assert all(row.result for row in home.database().runs())
    assert home.study().status()["best"] == best
