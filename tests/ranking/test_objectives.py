"""Metrics as objectives: their value over seeds, the Pareto front, the order of trials."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import LIMITS, climbed, diverged, run

from sweeper.errors import SweepError
from sweeper.ranking.evidence import Evidence
from sweeper.ranking.front import pareto_front
from sweeper.ranking.objective import trial_result
from sweeper.ranking.objectives import (
    DEFAULT,
    ROBUST_LOSS,
    Objective,
    metric_value,
    objective_values,
    parse_objectives,
)
from sweeper.ranking.ranking import rank
from sweeper.ranking.robust import on_front

ACCURACY, ERROR = Objective("accuracy", "maximize"), Objective("error")


def judged(accuracy: float | None, tail: float = 1e-3, **changes: Any) -> dict[str, Any]:
    """A run that held, with its metrics."""
    found = {} if accuracy is None else {"accuracy": accuracy, "error": 1 - accuracy}
    return run(tail, evaluation=found, **changes)


def both(
    runs: dict[int, list[dict[str, Any]]], *objectives: Objective, **more: Any
) -> tuple[list[dict[str, Any]], Evidence]:
    rows = []
    for number, own in runs.items():
        found = trial_result(own, **LIMITS)
        found |= objective_values(found, own, objectives, LIMITS["cvar"])
        rows.append({"trial": number, **found})
    return rows, Evidence(runs=runs, cvar=LIMITS["cvar"], objectives=objectives, **more)


def test_the_worst_seeds_make_the_value() -> None:
    runs = [judged(value) for value in (0.9, 0.5, 0.8, 0.7, 0.6)]
    assert metric_value(runs, ACCURACY, 0.4) == pytest.approx(0.55)
    assert metric_value(runs, ERROR, 0.4) == pytest.approx(0.45)
    assert metric_value(runs, ACCURACY, 1.0) == pytest.approx(0.7)


@pytest.mark.parametrize("odd", [None, math.nan, math.inf, -math.inf])
def test_a_run_without_the_metric_is_worse_than_all(odd: float | None) -> None:
    runs = [judged(0.9), judged(odd)]
    assert metric_value(runs, ACCURACY, 0.4) is None
    assert metric_value([*runs, diverged()], ERROR, 0.4) is None


def test_robust_loss_alone_says_nothing_more() -> None:
    assert objective_values({"robust_loss": 1.0}, [judged(0.9)], DEFAULT, 0.4) == {}
    found = objective_values({"robust_loss": 1.0}, [judged(0.9)], (ACCURACY, ROBUST_LOSS), 0.4)
    assert found == {"objectives": {"accuracy": 0.9, "robust_loss": 1.0}}


def test_objectives_of_a_spec() -> None:
    assert parse_objectives("robust_loss") == DEFAULT
    assert parse_objectives({"metric": "accuracy", "direction": "maximize"}) == (ACCURACY,)
    several = ["robust_loss", {"metric": "error", "direction": "minimize"}]
    assert parse_objectives(several) == (ROBUST_LOSS, ERROR)
    with pytest.raises(SweepError, match=r"^objective\[1\]: 3; allowed: robust_loss, or"):
        parse_objectives(["robust_loss", 3])


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, 2.0, 3.0, math.inf])] * 3), max_size=30))
def test_the_front_is_what_nothing_dominates(rows: list[tuple[float, ...]]) -> None:
    costs = np.array(rows).reshape(len(rows), 3)
    expected = [
        all(map(math.isfinite, one))
        and not any(all(map(float.__le__, other, one)) and other != one for other in rows)
        for one in rows
    ]
    assert pareto_front(costs).tolist() == expected


def test_a_metric_ranks_what_holds() -> None:
    runs = {
        0: [judged(0.80, 1e-9)] * 2,
        1: [judged(0.99), judged(0.97)],
        2: [judged(0.98), judged(0.60)],  # by its worst seed
        3: [climbed(1e-9, 1e-9, evaluation={"accuracy": 1.0, "error": 0.0})] * 2,
        4: [judged(0.9), diverged()],
        5: [judged(None)] * 2,
    }
    for objective in (ACCURACY, ERROR):
        rows, evidence = both(runs, objective)
        assert [row["trial"] for row in rank(rows, "robust", evidence)] == [1, 0, 2, 5, 4, 3]
        assert [row["trial"] for row in rank(rows, "robust", Evidence(objectives=(objective,)))] \
            == [1, 0, 2, 5, 4, 3]  # fmt: skip


def test_metrics_that_the_seeds_do_not_tell_apart_share_a_bin() -> None:
    runs = {0: [judged(0.90), judged(0.80)], 1: [judged(0.91), judged(0.805)]}
    rows, evidence = both(runs, ACCURACY)
    rows = [row | {"steps_to_target": 10 + row["trial"]} for row in rows]
    assert [row["trial"] for row in rank(rows, "robust", evidence)] == [0, 1]
    certain = {n: [own[1]] * 2 for n, own in runs.items()}
    rows, evidence = both(certain, ACCURACY)
    assert [row["trial"] for row in rank(rows, "robust", evidence)] == [1, 0]


def test_the_front_comes_first_and_what_fails_is_not_on_it() -> None:
    runs = {
        0: [judged(0.70, 1e-6)],
        1: [judged(0.90, 1e-3)],
        2: [judged(0.80, 1e-2)],  # beaten by 1
        3: [climbed(1e-12, 1e-12, evaluation={"accuracy": 1.0})],
        4: [judged(0.95, 1e-2)],
        5: [judged(None, 1e-12)],
    }
    rows, evidence = both(runs, ACCURACY, ROBUST_LOSS)
    assert on_front(rows, evidence).tolist() == [True, True, False, False, True, False]
    assert [row["trial"] for row in rank(rows, "robust", evidence)] == [4, 1, 0, 2, 5, 3]
    rows, evidence = both(runs, ROBUST_LOSS, ACCURACY)
    assert [row["trial"] for row in rank(rows, "robust", evidence)] == [0, 1, 4, 5, 2, 3]
    failed = {4: [judged(0.95), climbed(1e-3, 1e-3)]}
    rows, evidence = both(runs, ACCURACY, ROBUST_LOSS, stress=failed)
    assert on_front(rows, evidence).tolist() == [True, True, False, False, False, False]
