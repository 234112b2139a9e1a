"""LR sensitivity on grids and on random draws."""

import math
from typing import Any

import numpy as np
import pytest

from sweeper.ranking.evidence import Evidence
from sweeper.ranking.lr_sensitivity import lr_sensitivity
from sweeper.ranking.ranking import rank


def trial(number: int, lr: float, final: float | None, **config: Any) -> dict[str, Any]:
    losses = {"final_loss": final, "first_loss": 2.0}
    return {"trial": number, **losses, "config": {"optimizer": "adam", "lr": lr, **config}}


def found(trials: list[dict[str, Any]]) -> dict[int, float]:
    return lr_sensitivity(trials, Evidence())


GRID = [
    trial(0, 1e-4, 1.0, eps=1e-8),
    trial(1, 1e-3, 0.5, eps=1e-8),
    trial(2, 1e-2, 1e6, eps=1e-8),  # capped at l0 = 2
    trial(3, 1e-1, None, eps=1e-8),  # diverged: the same
    trial(4, 1e-4, 0.8, eps=1e-2),
    trial(5, 1e-3, 0.7, eps=1e-2),
    trial(6, 1e-2, 0.75, eps=1e-2),
]


def test_on_a_grid_it_is_the_published_formula() -> None:
    assert found(GRID) == pytest.approx(
        dict.fromkeys(range(4), (1.0 + 0.5 + 2.0 + 2.0) / 4 - 0.5)
        | dict.fromkeys(range(4, 7), (0.8 + 0.7 + 0.75) / 3 - 0.7)
    )


def test_the_flat_setting_comes_first_and_within_it_the_lowest_loss() -> None:
    ranking = rank(GRID, "lr_sensitivity")
    # Trials 2 and 3 learnt nothing.
    assert [row["trial"] for row in ranking] == [5, 6, 4, 1, 0, 2, 3]


def test_what_learns_equally_little_everywhere_comes_last() -> None:
    dead = [trial(20 + n, 10.0**n, 2.0, eps=1.0) for n in range(-4, -1)]
    assert set(found(dead).values()) == {0.0}
    assert [row["trial"] for row in rank([*GRID, *dead], "lr_sensitivity")][:3] == [5, 6, 4]


def test_a_repeated_learning_rate_counts_once() -> None:
    trials = [trial(0, 1e-3, 1.0), trial(1, 1e-2, 0.4), trial(2, 1e-2, 0.6)]
    assert found(trials) == pytest.approx(dict.fromkeys(range(3), 0.25))


def test_seeds_are_averaged_and_one_that_diverged_costs_l0() -> None:
    runs = {
        0: [{"final_loss": 0.4, "first_loss": 2.0}, {"final_loss": 0.8, "first_loss": 2.2}],
        1: [{"final_loss": 0.1, "first_loss": 2.0}, {"final_loss": None, "first_loss": 2.2}],
    }
    trials = [trial(0, 1e-3, 0.8), trial(1, 1e-2, None)]
    values = lr_sensitivity(trials, Evidence(runs=runs))
    assert values == pytest.approx(dict.fromkeys(range(2), (0.6 + 2.1) / 2 - 0.6))


def test_random_draws_are_compared_with_their_nearest_neighbours() -> None:
    rng = np.random.default_rng(0)
    trials = []
    for number in range(200):
        lr, eps = 10 ** rng.uniform(-4, -1), 10 ** rng.uniform(-8, 0)
        # Small eps: a sharp optimum in lr. Large eps: a flat one.
        sharp = eps < 1e-4
        final = min(2.0, 0.1 + (0.8 if sharp else 0.02) * abs(math.log10(lr) + 2.5))
        trials.append(trial(number, float(lr), final, eps=float(eps)))
    values = found(trials)
    groups = {True: [], False: []}
    for one in trials:
        groups[one["config"]["eps"] < 1e-4].append(values[one["trial"]])
    assert np.median(groups[True]) > 10 * np.median(groups[False])


def test_neighbours_are_within_a_decade_of_lr_and_near_in_the_rest() -> None:
    trials = [
        trial(0, 1e-3, 0.5, eps=1e-8, schedule={"kind": "cosine", "warmup": 0.1}),
        trial(1, 2e-3, 0.7, eps=2e-8, schedule={"kind": "cosine", "warmup": 0.1}),
        trial(2, 1e-1, 1.9, eps=1e-8, schedule={"kind": "cosine", "warmup": 0.2}),  # other lr
    ]
    assert found(trials) == pytest.approx({0: 0.1, 1: 0.1, 2: math.inf})
    far = [
        trial(n, 1e-3, 1.5, optimizer="sgd", eps=0.1 * n, schedule={"kind": "constant"})
        for n in range(3, 20)
    ]
    near = [
        trial(n, 1e-3, 0.5, eps=1e-8 * n, schedule={"kind": "cosine", "warmup": 0.1})
        for n in range(20, 26)
    ]
    values = found([*trials, *far, *near])
    assert values[0] == pytest.approx((7 * 0.5 + 0.7) / 8 - 0.5)


def test_nothing_to_compare_with() -> None:
    alone = [trial(0, 1e-3, 0.5)]
    assert found(alone) == {0: math.inf}
    assert found([*alone, {"trial": 1, "config": {}}, {"trial": 2}])[1] == math.inf
    assert [row["trial"] for row in rank([{"trial": 2}, {"trial": 1}], "lr_sensitivity")] == [1, 2]
