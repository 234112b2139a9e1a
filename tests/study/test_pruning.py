"""Pruning: rungs, the values that are compared, and the study under lanes that report them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from simulated_storage import diverged, verdict
from stub_lane import HORIZON, Home, StubLane, spec_with
from watched_database import WatchedDatabase

from sweeper.lane.record import curve_steps
from sweeper.lane.rungs import matched, passed, rung_steps
from sweeper.study.database import COMPLETE, PRUNED, Trial, Unavailable
from sweeper.study.pruners import Comparison, score
from sweeper.study.study import Study

STEPS = rung_steps(HORIZON)
# Bad ones are pruned from the third trial of the search on.
MEDIAN = {"pruner": "median", "n_startup_trials": 2}
BY_RUNGS = ["median", "successive_halving", "hyperband"]


def home_of(path: Path, **changes: Any) -> Home:
    return Home(path, spec_with(**{"prune": MEDIAN, "seeds": 1, "baseline": [], **changes}))


def rungs(loss: float, most: int = HORIZON) -> tuple[tuple[int, float], ...]:
    return tuple((step, loss) for step in STEPS if step < most)


def went(loss: float, **changes: Any) -> dict[str, Any]:
    """The verdict of a run with that loss all along."""
    curve = [[int(step), loss, 1.0, 1.0, 1e-3] for step in curve_steps(HORIZON)]
    return verdict(**{"curve": curve, "tail_loss": loss, **changes})


def told(home: Home) -> list[Trial]:
    trials = [trial for trial in home.database().trials() if trial.told is not None]
    return sorted(trials, key=lambda trial: trial.told or 0)


def warmed_up(home: Home, losses: tuple[float, ...] = (1e-2, 1e-3)) -> tuple[Study, StubLane]:
    """A study whose first trials have ended with these losses."""
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=4)
    for run, loss in enumerate(losses):
        lane.finish(study, run, room=0, **{f"r{run}": went(loss)})
    return study, lane


@pytest.mark.parametrize("horizon", [1, 2, 3, 10, 100, 999, 3000, 123_456, 10**9])
def test_rungs_are_on_the_curve(horizon: int) -> None:
    steps = rung_steps(horizon)
    assert set(steps) <= set(curve_steps(horizon).tolist())
    assert list(steps) == sorted(set(steps))
    assert all(0 < step < max(1, horizon - 1) for step in steps)
    assert len(steps) == 0 if horizon < 3 else len(steps) <= 8
    if horizon >= 999:
        assert len(steps) == 8
        assert steps[0] <= 0.011 * horizon and 0.25 * horizon <= steps[-1] <= 0.5 * horizon
    curve: list[list[float | None]] = [[int(s), 0.5, None] for s in curve_steps(horizon)]
    assert passed(curve, steps) == tuple((step, 0.5) for step in steps)


@pytest.mark.parametrize("horizon", [1, 3, 20, 100, 440, 3580, 14320])
def test_rungs_are_at_the_same_share_of_every_run(horizon: int) -> None:
    longest = 3580
    found = matched(horizon, longest)
    assert set(found.values()) <= set(rung_steps(horizon))  # what lanes report
    assert (set(found) == set(rung_steps(longest))) == (horizon > 2)
    assert matched(longest, longest) == {step: step for step in rung_steps(longest)}
    if horizon >= 440:
        for rung, step in found.items():
            assert step / horizon == pytest.approx(rung / longest, rel=0.3, abs=0.01)


def test_batch_sizes_are_compared_at_the_same_share_of_their_horizons(tmp_path: Path) -> None:
    space = {"lr": {"log_uniform": [1e-5, 1e-1]}, "batch_size": {"choice": [8, 64]}}
    horizon = {"epochs": 20, "dataset": 1437, "batch_size": 64}
    home = home_of(tmp_path, space=space, horizon=horizon)
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=6)
    rows = {row.run.id: row.run for row in home.database().runs()}
    size = {run: one.config["batch_size"] for run, one in rows.items()}
    assert set(size.values()) == {8, 64}
    assert all(one.horizon == {8: 3580, 64: 440}[size[run]] for run, one in rows.items())
    comparison = study._trials.comparison

    def reached(run: int, share: float, loss: float) -> tuple[tuple[int, float], ...]:
        steps = rung_steps(rows[run].horizon)
        return tuple((s, loss) for s in steps if s <= share * rows[run].horizon)

    short, long = (next(run for run in size if size[run] == one) for one in (64, 8))
    lane.sync(study, rungs={short: reached(short, 0.2, 0.1), long: reached(long, 0.2, 1.0)})
    assert comparison.values(short).keys() == comparison.values(long).keys()
    assert set(comparison.values(short).values()) == {-1.0}
    lane.sync(study, rungs={short: reached(short, 0.5, 0.1), long: reached(long, 0.2, 1.0)})
    assert len(comparison.values(short)) > len(comparison.values(long))
    rung = max(comparison.values(short))
    assert comparison.own_step(rows[short].trial, rung) == max(rung_steps(440))
    assert comparison.steps_of(short) == max(rung_steps(440)) + 1


def test_scores_are_finite_and_keep_the_order_of_losses() -> None:
    losses = [-1e308, -5.0, -1e-3, 0.0, 5e-324, 1e-3, 1.0, 1e308, math.inf]
    found = [score(loss) for loss in losses]
    assert found == sorted(found) and len(set(found)) == len(found)
    assert all(map(math.isfinite, found))
    assert score(math.nan) == score(math.inf)
    assert score(100.0) == 2.0


def test_the_worst_seed_counts_where_all_have_passed(tmp_path: Path) -> None:
    home = home_of(tmp_path, seeds=2)
    study, lane = home.study(), home.lane("a")
    assert lane.granted(study, room=2) == [0, 1]
    comparison = study._trials.comparison
    lane.sync(study, rungs={0: rungs(0.1)})
    assert comparison.values(0) == {}
    lane.sync(study, rungs={0: rungs(0.1), 1: rungs(10.0, STEPS[3])})
    assert comparison.values(0) == dict.fromkeys(STEPS[:3], 1.0)
    curve = went(1e-3)["curve"][:3]
    lane.finish(study, 1, r1={**diverged(STEPS[3]), "curve": curve})
    known = comparison.values(0)
    assert set(known) == set(STEPS) and all(map(math.isfinite, known.values()))
    assert known[STEPS[0]] == -1.0 and known[STEPS[3]] >= 1e100


def test_a_metric_that_is_maximised_turns_the_sign(tmp_path: Path) -> None:
    home = home_of(tmp_path, objective={"metric": "accuracy", "direction": "maximize"})
    study, lane = warmed_up(home, ())
    for run in (0, 1):
        lane.finish(study, run, **{f"r{run}": went(1e-3, evaluation={"accuracy": 0.9})})
    lane.sync(study, rungs={2: rungs(1e-5), 3: rungs(1.0)})
    assert study._trials.comparison.values(2)[STEPS[0]] == pytest.approx(5.0)
    assert [(t.number, t.state) for t in told(home)[2:]] == [(3, PRUNED)]


def test_a_bad_trial_is_pruned_and_a_good_one_is_not(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    study, lane = warmed_up(home)
    answer = lane.sync(study, rungs={2: rungs(1e-5, STEPS[2]), 3: rungs(1.0, STEPS[2])})
    assert answer.drop == (3,)
    *_, trial = told(home)
    assert (trial.number, trial.state, trial.result, trial.told) == (3, PRUNED, None, 3)
    assert trial.error == f"pruned at step {STEPS[0]} by median"
    assert trial.rungs == [[STEPS[0], 0.0]]
    assert set(lane.held) == {2}
    # What it made counts, and its slot is free.
    assert home.database().runs()[3].step == STEPS[1] + 1
    assert lane.granted(study, room=1) == [4]
    lane.finish(study, 2, 4, r2=went(1e-5), r4=went(1.0))  # ended before anybody asked
    assert [t.state for t in told(home)] == [COMPLETE, COMPLETE, PRUNED, COMPLETE, COMPLETE]


def test_reports_that_are_repeated_or_lost_change_nothing(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    study, lane = warmed_up(home)
    for _ in range(3):
        lane.sync(study, rungs={2: rungs(1e-5), 3: rungs(1e-9, STEPS[2])})
    late = lane.last
    lane.sync(study, rungs={3: rungs(1e-9)})
    assert late is not None
    study.sync(late)
    assert len(told(home)) == 2
    # A rung has the value that it had first.
    assert lane.sync(study, rungs={3: rungs(1e-9), 2: rungs(1.0)}).drop == ()
    other = home.lane("z", 1)
    other.held[2] = 90
    other.sync(study, rungs={2: rungs(1.0)})  # not its run
    assert len(told(home)) == 2


def test_an_answer_that_was_lost_is_given_again(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    study, lane = warmed_up(home)
    lane.sync(study, rungs={3: rungs(1.0)})
    lane.held[3] = 60  # never heard of it
    assert lane.sync(study, rungs={3: rungs(1.0)}).drop == (3,)
    lane.held[3] = 70
    assert lane.save(study, {3: 70}).drop == (3,)
    lane.finish(study, 3)
    assert [t.number for t in told(home)] == [0, 1, 3]
    assert told(home)[-1].state == PRUNED


def test_runs_in_other_lanes_are_dropped_too(tmp_path: Path) -> None:
    home = home_of(tmp_path, seeds=2)
    study, lane, other = home.study(), home.lane("a"), home.lane("b", 1)
    lane.sync(study, room=5)
    assert other.granted(study, room=1) == [5]
    lane.finish(study, *range(4), **{f"r{run}": went(1e-3) for run in range(4)})
    lane.sync(study, rungs={4: rungs(1e-5)})
    assert other.sync(study, rungs={5: rungs(1.0)}).drop == (5,)
    assert lane.sync(study, rungs={4: rungs(1e-5)}).drop == (4,)
    assert [row.result for row in home.database().runs([2])] == [None, None]


@pytest.mark.parametrize("pruner", BY_RUNGS)
def test_a_restart_compares_as_before(tmp_path: Path, pruner: str) -> None:
    home = home_of(tmp_path, prune=pruner, budget={"trials": 40})
    study, lane = home.study(), home.lane("a")
    losses = [10.0 ** -((7 * run) % 11) for run in range(40)]
    for run in range(30):
        assert lane.granted(study, room=1) == [run]
        lane.sync(study, rungs={run: rungs(losses[run])})
        if run in lane.held:
            lane.finish(study, run, **{f"r{run}": went(losses[run])})
    states = [trial.state for trial in told(home)]
    assert 2 <= states.count(PRUNED) <= 28
    assert lane.granted(study, room=1) == [30]
    lane.sync(study, rungs={30: rungs(1e-20, STEPS[3])})
    reborn = home.study()
    one, two = (s._trials._search._study.get_trials(deepcopy=False) for s in (study, reborn))
    for before, after in zip(one[:30], two[:30], strict=True):
        assert before.state == after.state
        assert before.intermediate_values == after.intermediate_values
        assert before.system_attrs == after.system_attrs
        assert before.values == after.values
    assert two[30].intermediate_values == {}
    lane.sync(reborn, rungs={30: rungs(1e-20)})
    assert two[30].number == 30 and 30 in lane.held


def test_a_pruned_trial_that_only_is_on_disk_is_pruned(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    study, lane = warmed_up(home)
    lane.sync(study, rungs={3: rungs(1.0)})
    reborn = home.study()
    lane.held[3] = 60
    assert lane.sync(reborn, rungs={3: rungs(1.0)}).drop == (3,)
    assert len(told(home)) == 3
    assert reborn.status()["told"] == 3


def test_baselines_and_stress_trials_are_not_pruned(tmp_path: Path) -> None:
    home = home_of(
        tmp_path,
        baseline=[{"lr": 1e-3}],
        budget={"trials": 4},
        stress={"top": 2, "seeds": 1, "horizon": "1x", "budget": 9.0, "neighbours": 0},
    )
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=4)
    lane.finish(study, 1, 2, r1=went(1e-2), r2=went(1e-3))
    assert lane.sync(study, rungs={0: rungs(9.0), 3: rungs(9.0)}).drop == (3,)
    lane.finish(study, 0, r0=went(9.0))
    lane.sync(study, room=4)
    assert lane.held
    assert lane.sync(study, rungs={run: rungs(9.0) for run in lane.held}).drop == ()
    lane.finish(study, *lane.held)
    assert study.finished


def test_racing_compares_the_first_seed(tmp_path: Path) -> None:
    home = home_of(tmp_path, seeds={"count": 3, "racing": True}, budget={"trials": 4})
    study, lane = home.study(), home.lane("a")
    assert lane.granted(study, room=4) == [0, 3, 6, 9]
    for _ in range(3):  # two trials get all of their seeds
        runs = [run for run in lane.held if run < 6]
        lane.finish(study, *runs, room=2, **{f"r{run}": went(1e-3) for run in runs})
    assert [t.number for t in told(home)] == [0, 1]
    assert lane.sync(study, rungs={6: rungs(1e-5), 9: rungs(1.0)}).drop == (9,)
    lane.finish(study, 6, room=2, r6=went(1e-5))
    assert 7 in lane.held
    assert lane.sync(study, rungs={7: rungs(1.0)}).drop == ()
    reborn = home.study()  # which knows that the first seed was good enough
    assert lane.sync(reborn, rungs={7: rungs(1.0)}).drop == ()


def test_wilcoxon_compares_seeds_that_have_ended(tmp_path: Path) -> None:
    home = home_of(
        tmp_path, prune="wilcoxon", seeds={"count": 9, "racing": True}, budget={"trials": 2}
    )
    study, lane = home.study(), home.lane("a")
    lane.sync(study, room=2)
    for first in (0, 9):  # the second one starts its further seeds when the first has ended
        for _ in range(5):
            runs = [run for run in lane.held if run in range(first, first + 9)]
            loss = 1e-2 if first else 1e-3
            lane.finish(study, *runs, room=4, **{f"r{run}": went(loss) for run in runs})
    *_, trial = told(home)
    assert (trial.state, trial.error) == (PRUNED, "pruned after 4 seeds by wilcoxon")
    assert trial.rungs == [[index, pytest.approx(-2.0)] for index in range(4)]
    assert home.study().finished


def test_others_neither_prune_nor_listen(tmp_path: Path) -> None:
    for number, prune in enumerate(("none", "hopeless")):
        (tmp_path / str(number)).mkdir()
        home = home_of(tmp_path / str(number), prune=prune)
        study, lane = warmed_up(home)
        assert lane.sync(study, rungs={3: rungs(1.0)}).drop == ()
        assert isinstance(study._trials.comparison, Comparison)
        assert len(told(home)) == 2


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_database_that_fails_as_a_trial_is_pruned(tmp_path: Path, how: str) -> None:
    home = home_of(tmp_path)
    database = WatchedDatabase(home.path)
    study, lane = home.study(database=database), home.lane("a")
    lane.sync(study, room=4)
    lane.finish(study, 0, 1, r0=went(1e-2), r1=went(1e-3))
    database.fails = lambda: how
    with pytest.raises(Unavailable):
        lane.sync(study, rungs={3: rungs(1.0)})
    database.fails = lambda: ""
    assert lane.repeat(study).drop == (3,)
    assert [(t.number, t.state) for t in told(home)][2:] == [(3, PRUNED)]
    assert study.status()["told"] == 3
