"""Racing seeds: further ones start only while a trial is feasible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulated_storage import diverged, verdict
from stub_lane import Home, finish_all, spec_with

from sweeper.study.database import COMPLETE
from sweeper.study.study import Study


def home_of(path: Path, trials: int = 2) -> Home:
    return Home(
        path, spec_with(seeds={"count": 5, "racing": True}, baseline=[], budget={"trials": trials})
    )


def seeds_by_trial(home: Home) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row in home.database().runs():
        found.setdefault(row.run.trial, []).append(row.run.seed)
    return found


def test_a_trial_that_holds_gets_all_its_seeds_by_and_by(tmp_path: Path) -> None:
    home = home_of(tmp_path, trials=1)
    study, lane = home.study(), home.lane("a")
    granted = [lane.granted(study, room=9)]
    for _ in range(3):
        lane.finish(study, *list(lane.held), room=9)
        granted.append(sorted(lane.held))
    assert granted == [[0], [1], [2, 3], [4]]
    assert not home.database().trials()[0].told
    lane.finish(study, 4)
    (trial,) = home.database().trials()
    assert trial.state == COMPLETE and trial.result is not None and trial.result["runs"] == 5
    assert study.finished


def test_a_trial_that_fails_gets_no_further_seed(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    study, lane = home.study(), home.lane("a")
    assert lane.granted(study, room=2) == [0, 5]
    failed: dict[str, dict[str, Any]] = {"r5": diverged(40)}
    lane.finish(study, 5, room=2, **failed)
    lane.finish(study, 0, room=1)
    bad = verdict(failed=True, draw_up=4.0, onset_step=30)
    lane.finish(study, 1, room=4, r1=bad)
    first, second = home.database().trials()
    assert first.result is not None and second.result is not None
    assert (first.result["runs"], first.result["failure_fraction"]) == (2, 0.5)
    assert (second.result["runs"], second.result["failure_fraction"]) == (1, 1.0)
    assert seeds_by_trial(home) == {0: [0, 1], 1: [0]}
    assert study.finished


def test_a_restart_knows_the_further_seeds(tmp_path: Path) -> None:
    home = home_of(tmp_path, trials=1)
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=1)
    lane.finish(study, 0)  # earns seed 1, which nobody has taken yet
    finish_all(home.study(), home.lane("b"))
    assert seeds_by_trial(home) == {0: [0, 1, 2, 3, 4]}


def test_a_report_that_is_repeated_adds_nothing_twice(tmp_path: Path) -> None:
    home = home_of(tmp_path, trials=1)
    study: Study = home.study()
    lane = home.lane("a")
    lane.sync(study, room=1)
    lane.finish(study, 0)
    change_again = lane.last
    assert change_again is not None
    study.sync(change_again)
    reborn = home.study()
    reborn.sync(change_again)
    assert seeds_by_trial(home) == {0: [0, 1]}
