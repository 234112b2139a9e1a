"""What is recommended, and what is said of those that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.ranking.recommendation import proof, recommended, refusal, tempting
from sweeper.ranking.target import steps_to_target


def row(trial: int, **values: Any) -> dict[str, Any]:
    return {
        "trial": trial, "origin": "search", "failure_fraction": 0.0, "violation": -0.5, "runs": 2,
        "tail_loss": 1e-9, "draw_up": 0.1, "onset_step": None, **values,
    }  # fmt: skip


def stressed(trial: int, failed: int, **values: Any) -> dict[str, Any]:
    said = {
        "stress_runs": 5, "stress_failure_fraction": failed / 5, "stress_tail_loss": 1e-9,
        "stress_draw_up": 6.25 if failed else 0.2, "stress_onset_step": 7410 if failed else None,
    }  # fmt: skip
    return row(trial, **{**said, **values})


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        (row(1), "held on 2 seeds for 50 steps (no stress test); tail loss 1e-09 at worst"),
        (row(1, runs=1), "held on 1 seed for 50 steps (no stress test); tail loss 1e-09 at worst"),
        (
            stressed(1, 0, stress_tail_loss=3e-7),
            "held on 5 fresh seeds for 200 steps; tail loss 3e-07 at worst",
        ),
        (
            stressed(1, 0, stress_runs=1),
            "held on 1 fresh seed for 200 steps; tail loss 1e-09 at worst",
        ),
    ],
)
def test_how_far_a_trial_held(trial: dict[str, Any], said: str) -> None:
    assert proof(trial, steps=50, stress_steps=200) == said


def test_what_held_in_the_stress_test_is_recommended() -> None:
    ranking = [stressed(1, 1), row(2), stressed(3, 0), stressed(4, 0)]
    found = recommended(ranking, stressed=True)
    assert found is not None and found["trial"] == 3
    assert recommended(ranking[:2], stressed=True) is None


@pytest.mark.parametrize("broken", [{"failure_fraction": 0.5}, {"violation": 10.0}])
def test_without_one_what_held_in_the_search_is(broken: dict[str, Any]) -> None:
    found = recommended([row(1, **broken), row(2)], stressed=False)
    assert found is not None and found["trial"] == 2
    assert recommended([row(1, **broken)], stressed=False) is None


def test_a_trial_that_failed_in_the_search_is_never_recommended() -> None:
    assert recommended([stressed(1, 0, failure_fraction=0.5)], stressed=True) is None


@pytest.mark.parametrize(
    ("trial", "says"),
    [
        (row(1), None),
        (stressed(1, 0), None),
        (
            stressed(1, 3),
            "failed on 3 of 5 fresh seeds within 20,000 steps: "
            "it climbed 6.2 decades from step 7,410",
        ),
        (
            row(1, failure_fraction=1.0, draw_up=4.0, onset_step=2634),
            "failed on 2 of 2 seeds of the search: it climbed 4.0 decades from step 2,634",
        ),
        (
            row(1, failure_fraction=0.5, tail_loss=None, onset_step=12),
            "failed on 1 of 2 seeds of the search: it diverged from step 12",
        ),
        (
            row(1, failure_fraction=0.5, onset_step=900),
            "failed on 1 of 2 seeds of the search: it gave back its progress from step 900",
        ),
        (
            row(1, violation=10.0, forecast_step=7469),
            "forecast to become unstable after 7,469 steps",
        ),
        (row(1, forecast_step=70000), None),  # beyond what it is judged on
    ],
)
def test_a_refusal_says_what_broke_where_and_when(trial: dict[str, Any], says: str | None) -> None:
    assert refusal(trial, stress_horizon=20_000) == says


def test_the_tempting_ones_are_those_that_other_policies_put_first() -> None:
    good = [row(n) for n in range(20, 26)]
    late, early = stressed(1, 2), stressed(2, 5)
    baseline = stressed(0, 5, origin="baseline")
    hidden = stressed(9, 5)  # nobody puts it among the first five
    rankings = {
        "best": [late, *good, hidden, early, baseline],
        "early": [good[0], early, late, *good[1:], hidden, baseline],
    }
    found = tempting(rankings, stress_horizon=20_000)
    assert [(one["trial"], one["by"]) for one in found] == [
        (1, ["best", "early"]),
        (2, ["early"]),
        (0, ["baseline"]),
    ]
    assert all(one["reason"].startswith("failed on") for one in found)
    assert [one["trial"] for one in tempting(rankings, stress_horizon=1, most=1)] == [1]


def test_steps_to_the_target_are_those_of_the_slowest_run() -> None:
    fast = {"curve": [[0, 1.0], [10, 1e-3], [100, None], [200, 1e-6]]}
    slow = {"curve": [[0, 1.0], [10, 0.5], [100, 1e-3], [200, 1e-4]]}
    assert steps_to_target([fast], 1e-3) == 10
    assert steps_to_target([fast, slow], 1e-3) == 100
    assert steps_to_target([fast], 1e-5) == 200
    assert steps_to_target([fast, slow], 1e-5) is None
    assert steps_to_target([], 1.0) is None
