"""The value of a trial: CVaR over its seeds, failure probability, violation."""

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from sweeper.ranking.objective import (
    failure_fraction,
    robust_loss,
    run_cost,
    trial_result,
    violation,
    wilson_interval,
    worst_run,
)
from sweeper.stability.limits import Limits
from sweeper.stability.verdict import RunFacts, Verdict

LIMITS = {"climb": 3.0, "give_back": 0.2}


def run(tail: float | None = 1e-3, **changes: Any) -> dict[str, Any]:
    """The verdict on a run that held, but for what is changed."""
    whole = {
        "steps": 100,
        "finite": True,
        "hopeless": False,
        "negative": False,
        "failed": False,
        "first_loss": 1.0,
        "best_loss": 1e-4,
        "final_loss": tail,
        "tail_loss": tail,
        "floor": 1e-8,
        "draw_up": 0.5,
        "give_back": 0.1,
        "spike_score": 0.01,
        "upward_spike_score": 0.02,
        "onset_step": None,
        "stable_steps": 100,
    }
    return {**whole, **changes}


def nan_run(at: int, first: float | None = 10.0) -> dict[str, Any]:
    gone = {"finite": False, "failed": True, "onset_step": at, "stable_steps": at, "steps": at}
    return run(None, first_loss=first, best_loss=first, **gone)


@pytest.mark.parametrize(
    ("result", "cost"),
    [
        (run(1e-3), -3.0),
        (run(1e-9), -8.0),  # lifted to the floor
        (run(0.0), -8.0),
        (run(0.0, floor=0.0), -308.0),
        (run(None, hopeless=True, first_loss=100.0), 2.0),
        (nan_run(5), 1.0),
        (nan_run(5, first=0.0), -8.0),
        (nan_run(0, first=None), 308.0),
        (run(1e-3, finite=False, first_loss=10.0), 1.0),
    ],
)
def test_cost(result: dict[str, Any], cost: float) -> None:
    assert run_cost(result) == pytest.approx(cost, abs=1e-12)


@pytest.mark.parametrize(
    ("result", "cost"),
    [(run(-5.0), -5.0), (run(1e-9), 1e-9), (nan_run(3), 10.0), (nan_run(0, None), 1e300)],
)
def test_plain_cost(result: dict[str, Any], cost: float) -> None:
    assert run_cost(result, is_log=False) == cost


def cvar_by_hand(costs: list[float], share: float) -> float:
    """The mean of the worst runs, by the least count that makes up the share."""
    worst = sorted(costs, reverse=True)
    count = next(n for n in range(1, len(costs) + 1) if n / len(costs) >= share - 1e-9)
    return math.fsum(worst[:count]) / count


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-7.0, 5.0), min_size=1, max_size=12),
    st.floats(0.01, 1.0) | st.sampled_from([0.1, 0.2, 0.4, 0.6, 1.0]),
)
def test_robust_loss_is_the_cvar(costs: list[float], share: float) -> None:
    found = robust_loss([run(10**cost) for cost in costs], share)
    assert found == pytest.approx(cvar_by_hand(costs, share), abs=1e-9)


@pytest.mark.parametrize(
    ("share", "value"),
    [(0.2, 1.0), (0.21, 0.5), (0.4, 0.5), (0.6, 0.0), (1.0, -1.0), (0.01, 1.0)],
)
def test_robust_loss_of_five(share: float, value: float) -> None:
    results = [run(10.0**cost) for cost in (-2, 1, -1, 0, -3)]
    assert robust_loss(results, share) == pytest.approx(value)


def test_one_negative_loss_makes_all_costs_plain() -> None:
    results = [run(100.0), run(-3.0, negative=True), run(2.0)]
    assert robust_loss(results, 1.0) == pytest.approx(33.0)
    assert robust_loss([*results, nan_run(0, None)], 0.1) == 1e300


def test_a_whole_run_beats_one_without_any_loss() -> None:
    whole, gone = run(1e300), nan_run(0, None)
    assert robust_loss([whole], 1.0) < robust_loss([gone], 1.0)


@pytest.mark.parametrize("runs", [1, 2, 5, 20, 400])
def test_wilson_interval(runs: int) -> None:
    for failures in {0, 1, runs // 3, runs - 1, runs}:
        expected = binomtest(failures, runs).proportion_ci(0.9, method="wilson")
        found = wilson_interval(failures, runs)
        assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert 0.0 <= found[0] <= failures / runs <= found[1] <= 1.0


def test_failure_fraction() -> None:
    assert failure_fraction([run(), nan_run(3), run(), run(failed=True)]) == 0.5
    assert failure_fraction([run()]) == 0.0


@pytest.mark.parametrize(
    ("results", "value"),
    [
        ([run(draw_up=0.0, give_back=0.0)], -1.0),
        ([run(draw_up=1.5, give_back=0.05)], -0.5),
        ([run(draw_up=1.5, give_back=0.15)], -0.25),
        ([run(draw_up=6.0)], 1.0),
        ([run(), run(give_back=0.6)], 2.0),
        ([run(draw_up=3.0)], 0.0),
        ([run(give_back=1e9)], 10.0),
        ([run(), nan_run(7)], 10.0),
        ([run(hopeless=True, failed=True), run()], 10.0),
    ],
)
def test_violation(results: list[dict[str, Any]], value: float) -> None:
    assert violation(results, **LIMITS) == pytest.approx(value)


def test_trial_result() -> None:
    results = [
        run(1e-2, draw_up=4.0, failed=True, onset_step=60, stable_steps=60, best_loss=1e-6),
        run(1e-4, give_back=0.19, spike_score=0.03, evaluation={"accuracy": 0.5, "extra": 1.0}),
        run(1e-3, evaluation={"accuracy": 1.0}),
    ]
    results[0]["evaluation"] = {"accuracy": 0.9, "extra": 3.0}
    found = trial_result(results, cvar=0.4, **LIMITS)
    low, high = wilson_interval(1, 3)
    assert found == {
        "robust_loss": pytest.approx(-2.5),
        "failure_fraction": pytest.approx(1 / 3),
        "failure_low": low,
        "failure_high": high,
        "violation": pytest.approx(1 / 3),
        "runs": 3,
        "tail_loss": 1e-2,
        "best_loss": 1e-4,
        "final_loss": 1e-2,
        "draw_up": 4.0,
        "give_back": 0.19,
        "spike_score": 0.03,
        "onset_step": 60,
        "forecast_step": None,
        "sharpness": None,
        "safe_eps": None,
        "stable_steps": 60,
        "accuracy": pytest.approx(0.8),
    }


def test_runs_without_a_spike_score() -> None:
    short, old = run(spike_score=None), run()
    del old["spike_score"], old["upward_spike_score"]
    assert trial_result([short, old, run()], cvar=0.4, **LIMITS)["spike_score"] == 0.01
    assert trial_result([short, old], cvar=0.4, **LIMITS)["spike_score"] is None


def test_a_trial_whose_runs_all_failed() -> None:
    found = trial_result([nan_run(9), nan_run(0, None)], cvar=1.0, **LIMITS)
    assert found["failure_fraction"] == 1.0
    assert found["violation"] == 10.0
    assert found["robust_loss"] == pytest.approx((308 + 1) / 2)
    assert (found["tail_loss"], found["best_loss"], found["final_loss"]) == (None, None, None)
    assert (found["onset_step"], found["stable_steps"]) == (0, 0)
    json.dumps(found, allow_nan=False)


def test_a_trial_of_real_verdicts() -> None:
    verdicts = []
    for losses in ([1.0, 0.1, 0.1], [1.0, math.nan], [math.nan], [1.0, 1e300, -1e300]):
        verdicts.append(Verdict(RunFacts(3, 0, 1, 1e-7), Limits()))
        verdicts[-1].update(np.array(losses))
    for count in range(1, 5):
        for chosen in itertools.combinations(verdicts, count):
            found = trial_result([one.result() for one in chosen], cvar=0.4, **LIMITS)
            json.dumps(found, allow_nan=False)
            assert found["violation"] <= 10.0


@pytest.mark.parametrize(
    ("results", "index"),
    [
        ([run(1e-3), run(1e-2), run(1e-4)], 1),
        ([run(1e-2), run(1e-4, failed=True), run(1e-3)], 1),
        ([run(1e-2, failed=True), run(1e-3), nan_run(3)], 2),
        ([run(-5.0, negative=True), run(-1.0, negative=True), run(-2.0, negative=True)], 1),
    ],
)
def test_worst_run(results: list[dict[str, Any]], index: int) -> None:
    assert worst_run(results) == index


def test_a_forecast_within_the_stress_horizon_is_infeasible() -> None:
    def told(step: int | None, confidence: str = "good") -> dict[str, Any]:
        forecast = {"forecast_step": step, "forecast_confidence": confidence, "sharpness": 3.0}
        return run(steps=1000, **forecast)

    def of(*results: dict[str, Any], stress_horizon: int = 4000) -> float:
        found = trial_result(results, cvar=0.4, stress_horizon=stress_horizon, **LIMITS)
        return float(found["violation"])

    assert of(told(3000)) == of(run(), told(3000, "fair")) == 10.0
    assert of(told(950)) == 10.0  # its loss has yet to rise
    assert of(told(800, "measured")) <= 0  # the verdict saw what came of it
    assert of(told(4001)) <= 0 and of(told(None, "none")) <= 0
    assert of(told(3000, "poor")) <= 0 and of(told(3000, "unchecked")) <= 0
    assert of(told(3000), stress_horizon=0) <= 0
    found = trial_result([run(), told(900), told(700)], cvar=0.4, **LIMITS)
    assert (found["forecast_step"], found["sharpness"]) == (700, 3.0)
