"""The study under simulated lanes and a simulated clock: leases, budgets, telling, restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeper.lane.protocol import Answer, Identity, Report
from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part, Span
from sweeper.spec import SweepSpec, check
from sweeper.study.database import Database
from sweeper.study.study import Study

RAW: dict[str, Any] = {
    "name": "simulated",
    "task": "perceptron",
    "horizon": 100,
    "seeds": 2,
    "baseline": {"lr": 1e-3},
    "space": {
        "lr": {"log_uniform": [1e-5, 1e-1]},
        "schedule": {"choice": {"constant": {}, "cosine": {"final": {"uniform": [0.0, 1.0]}}}},
    },
    "search": {"sampler": "random"},
    "budget": {"trials": 12},
}


def spec_with(**changes: Any) -> SweepSpec:
    return check({**RAW, **changes})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Home:
    """A database, and studies on it, one after another."""

    def __init__(self, path: Path, spec: SweepSpec) -> None:
        self.path, self.spec, self.clock = path / "study.db", spec, Clock()
        Database(self.path, create=True).close()

    def study(self, hold_back_s: float = 0.0) -> Study:
        return Study(Database(self.path), self.spec, hold_back_s=hold_back_s, clock=self.clock)

    def database(self) -> Database:
        return Database(self.path)


class SimulatedLane:
    """Holds runs without training them."""

    def __init__(self, process: str, lane: int = 0) -> None:
        self.who = Identity(process, lane, "host")
        self.held: dict[int, Run] = {}

    def sync(self, study: Study, room: int = 0, **report: Any) -> Answer:
        held = report.pop("held", dict.fromkeys(self.held, 0))
        answer = study.sync(Report(who=self.who, held=held, room=room, **report))
        for run in answer.drop:
            self.held.pop(run, None)
        self.held |= {grant.run.id: grant.run for grant in answer.grant}
        return answer

    def finish(self, study: Study, *runs: int, room: int = 0) -> Answer:
        done = {run: verdict() for run in runs}
        for run in runs:
            self.held.pop(run, None)
        spans = tuple(Span(run, 0, 100) for run in runs)
        return self.sync(study, room, done=done, part=Part(f"{runs[0]}.parquet", spans))


def verdict(**changes: Any) -> dict[str, Any]:
    good = {
        "steps": 100, "finite": True, "hopeless": False, "failed": False, "negative": False,
        "first_loss": 1.0, "best_loss": 1e-6, "final_loss": 1e-6, "tail_loss": 1e-5,
        "floor": 1e-12, "draw_up": 0.5, "give_back": 0.01, "onset_step": None,
        "stable_steps": 100, "curve": [[0, 1.0, 1.0, 1.0, 1e-3]],
    }  # fmt: skip
    return {**good, **changes}


def finish_all(study: Study, lane: SimulatedLane) -> None:
    lane.sync(study, room=8)
    for _ in range(200):
        if study.finished:
            return
        lane.finish(study, *list(lane.held)[:3], room=3)
    raise AssertionError("the sweep does not end")


def test_baseline_first_and_every_trial_told_once(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with())
    study = home.study()
    finish_all(study, SimulatedLane("a"))
    trials = home.database().trials()
    assert [trial.origin for trial in trials] == ["baseline"] + ["search"] * 11
    assert trials[0].config["lr"] == 1e-3
    assert sorted(trial.told or 0 for trial in trials) == list(range(1, 13))
    assert all(trial.state == "COMPLETE" for trial in trials)
    assert len({repr(trial.config) for trial in trials}) == 12


def test_a_lost_answer_is_granted_again_and_a_repeated_report_is_harmless(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with())
    study, lane = home.study(), SimulatedLane("a")
    first = lane.sync(study, room=2)
    lost = lane.sync(study, held={}, room=2)
    assert [g.run.id for g in lost.grant] == [g.run.id for g in first.grant]
    lane.finish(study, 0, 1)
    again = SimulatedLane("a")
    again.finish(study, 0, 1)
    assert study.status()["told"] == 1
    assert len(home.database().parts()) == 1


def test_a_silent_lane_loses_its_runs_and_its_late_report_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with())
    study, silent, other = home.study(), SimulatedLane("a", 0), SimulatedLane("b", 1)
    silent.sync(study, room=2)
    silent.sync(study, saved={0: 40}, row_file="rows/x.safetensors")
    home.clock.now += 1000
    answer = other.sync(study, room=2)
    assert [(g.run.id, g.row_file) for g in answer.grant] == [(0, "rows/x.safetensors"), (1, None)]
    late = silent.finish(study, 0)
    assert home.database().runs()[0].result is None
    assert home.database().parts() == []
    assert silent.sync(study, held={0: 100}).drop == (0,)
    assert 0 not in [g.run.id for g in late.grant]


def test_a_restarted_lane_takes_over_from_its_own_dead_process(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with())
    study = home.study()
    SimulatedLane("a", 0).sync(study, room=4)
    answer = SimulatedLane("a2", 0).sync(study, room=4)
    assert [g.run.id for g in answer.grant] == [0, 1, 2, 3]


def test_a_new_study_goes_on_where_the_old_one_was(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with())
    study, lane = home.study(), SimulatedLane("a")
    lane.sync(study, room=6)
    lane.finish(study, 0, 1, 2)
    lane.sync(study, saved={3: 50}, row_file="rows/y.safetensors")
    reborn = home.study(hold_back_s=5)
    # Runs that were open are held back for the lane that holds them ...
    stranger = SimulatedLane("z", 7)
    fresh = [g.run.id for g in stranger.sync(reborn, room=1).grant]
    assert not set(fresh) & {3, 4, 5}
    assert lane.sync(reborn).drop == ()
    # ... and go to anybody after that.
    later = home.study()
    assert [g.run.id for g in SimulatedLane("n").sync(later, room=1).grant] == [3]
    finish_all(home.study(), SimulatedLane("m"))
    assert len(home.database().trials()) == 12


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe"])
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
            lane = SimulatedLane(f"lane-{run}")
            assert [g.run.id for g in lane.sync(study, room=1).grant] == [run]
            lane.finish(study, run)
            study = home.study() if restarts and run % 5 == 0 else study
        configs.append([trial.config for trial in home.database().trials()])
    assert configs[0] == configs[1]


def test_an_adaptive_sampler_has_about_an_eighth_open(tmp_path: Path) -> None:
    spec = spec_with(search={"sampler": "tpe"}, budget={"trials": 32})
    study, lane = Home(tmp_path, spec).study(), SimulatedLane("a")
    granted = [len(lane.sync(study, room=100, capacity=16).grant) for _ in range(4)]
    assert granted == [4, 4, 2, 0]  # by quarters of the pack, up to 5 trials of 2 seeds
    assert study.status()["running"] == 5


@pytest.mark.parametrize(
    ("budget", "trials"), [({"run_steps": 500}, 3), ({"time": "50s"}, 3), ({"trials": 5}, 5)]
)
def test_budgets_end_the_search(tmp_path: Path, budget: dict[str, Any], trials: int) -> None:
    home = Home(tmp_path, spec_with(budget={"trials": 100, **budget}))
    study, lane = home.study(), SimulatedLane("a")
    lane.sync(study, room=2)
    for _ in range(100):
        if study.finished:
            break
        home.clock.now += 20
        lane.finish(study, *lane.held, room=2)
    assert study.finished
    assert len(home.database().trials()) == trials


def test_time_is_counted_over_restarts(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with(budget={"time": "60s", "trials": 100}))
    study, lane = home.study(), SimulatedLane("a")
    lane.sync(study, room=2)
    home.clock.now += 50
    lane.finish(study, *lane.held)
    study = home.study()
    home.clock.now += 20
    assert study.finished


def test_row_files_that_nobody_needs_are_named(tmp_path: Path) -> None:
    study, lane = Home(tmp_path, spec_with()).study(), SimulatedLane("a")
    lane.sync(study, room=2)
    assert lane.sync(study, saved={0: 10, 1: 10}, row_file="rows/1").obsolete == ()
    assert lane.sync(study, saved={0: 20}, row_file="rows/2").obsolete == ()
    assert lane.sync(study, saved={1: 30}, row_file="rows/3").obsolete == ("rows/1",)
    assert lane.finish(study, 0).obsolete == ("rows/2",)


def test_diverged_runs_are_priced_and_told(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_with(budget={"trials": 2}))
    study, lane = home.study(), SimulatedLane("a")
    lane.sync(study, room=8)
    nan = verdict(finite=False, failed=True, tail_loss=None, final_loss=None, first_loss=100.0)
    lane.sync(study, held={}, done={0: verdict(), 1: nan, 2: nan, 3: nan})
    trial = home.database().trials()[1]
    assert trial.result is not None
    assert trial.result["robust_loss"] == pytest.approx(2.0)
    assert trial.result["failure_fraction"] == 1.0
    assert trial.result["violation"] == 10.0
    assert study.finished


def test_repeated_lane_failures_without_progress_end_the_sweep(tmp_path: Path) -> None:
    study, lane = Home(tmp_path, spec_with()).study(), SimulatedLane("a")
    for _ in range(2):
        study.lane_failed("boom", final=False)
    lane.sync(study, room=1)
    assert study.status()["error"] is None
    lane.finish(study, 0)  # progress: counted from zero again
    for _ in range(2):
        study.lane_failed("boom", final=False)
    assert study.status()["error"] is None
    study.lane_failed("boom", final=False)
    assert study.status()["error"] == "boom"
    assert lane.sync(study).end
