"""Range tests read from curves whose answers are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sweeper.stability.lr_range import Rules, read, smooth

T = 201
LR = np.geomspace(1e-8, 1e2, T)  # 20 steps a decade


def valley(begin: float = 1e-4, end: float = 1e0) -> np.ndarray:
    """2 before `begin`, a half cosine of log lr down to 0.5 at its middle, up to 5 past `end`."""
    at = np.log10(LR)
    first, last = math.log10(begin), math.log10(end)
    middle = (first + last) / 2
    falling = np.clip((at - first) / (middle - first), 0, 1)
    rising = np.clip((at - middle) / (last - middle), 0, 1)
    return (
        0.5 + 1.5 * (1 + np.cos(math.pi * falling)) / 2 + 4.5 * (1 - np.cos(math.pi * rising)) / 2
    )


def step_of(lr: float) -> int:
    return int(np.abs(np.log(LR / lr)).argmin())


def test_three_regions_of_a_known_curve() -> None:
    found = read(LR, valley(), Rules(smoothing="none", pick="minimum"))
    assert found.regions == 3
    assert found.lowest == pytest.approx(1e-2)
    assert found.picked == pytest.approx(1e-3)
    # 5 % of the fall: (1 - cos(pi x)) / 2 = 0.05 at x = 0.1436 of two decades.
    assert math.log10(found.begins or 0) == pytest.approx(-4 + 2 * 0.1436, abs=0.05)
    # 10 % of the fall of 1.5 above the bottom: 4.5 (1 - cos(pi x)) / 2 = 0.15 at x = 0.1169.
    assert math.log10(found.diverges or 0) == pytest.approx(-2 + 2 * 0.1169, abs=0.05)


def test_the_steepest_descent_is_in_the_middle_of_a_half_cosine() -> None:
    found = read(LR, valley(), Rules(smoothing="none", pick="steepest"))
    assert found.picked == pytest.approx(1e-3)


def test_the_valley_is_half_way_into_the_longest_decrease() -> None:
    loss = np.full(T, 2.0)
    loss[60:121] = np.linspace(2, 1, 61)  # with the flat start the decrease has 61 values
    loss[121:] = 4
    found = read(LR, loss, Rules(smoothing="none", pick="valley"))
    assert found.picked == LR[120 - 61 + 61 // 3 + 61 // 6]


@pytest.mark.parametrize("rule", ["steepest", "valley", "minimum"])
@pytest.mark.parametrize("smoothing", ["median", "ema"])
def test_noise_moves_no_bound_by_more_than_half_a_decade(rule: str, smoothing: str) -> None:
    noisy = valley() + np.random.default_rng(0).normal(0, 0.03, T)
    clean = read(LR, valley(), Rules(smoothing=smoothing, pick=rule))
    found = read(LR, noisy, Rules(smoothing=smoothing, pick=rule))
    for name in ("begins", "lowest", "diverges"):
        assert getattr(found, name) / getattr(clean, name) == pytest.approx(1, abs=1.2), name
    assert 1e-5 < (found.picked or 0) < 1e-1


def test_the_running_median_does_not_lag_and_the_moving_average_does() -> None:
    median = read(LR, valley(), Rules(smoothing="median", pick="minimum"))
    average = read(LR, valley(), Rules(smoothing="ema", pick="minimum"))
    assert median.lowest == pytest.approx(1e-2, rel=0.3)
    assert (average.lowest or 0) > 2e-2


def test_the_moving_average_is_that_of_the_definition() -> None:
    loss = np.random.default_rng(1).normal(size=50)
    expected = [
        sum(0.02 * 0.98 ** (t - i) * loss[i] for i in range(t + 1)) / (1 - 0.98 ** (t + 1))
        for t in range(50)
    ]
    np.testing.assert_allclose(smooth(loss, "ema", 50), expected, rtol=1e-12)


def test_what_is_not_finite_ends_the_test_and_is_where_it_diverges() -> None:
    loss = valley()
    loss[step_of(1e-2) + 1 :] = np.nan
    loss[-5:] = 1.0  # what follows doesn't count
    found = read(LR, loss)
    assert found.broken == step_of(1e-2) + 1
    assert found.diverges == LR[step_of(1e-2) + 1]
    assert np.isnan(found.smoothed[step_of(1e-2) + 1 :]).all()
    assert found.regions == 3


@pytest.mark.parametrize(("stop", "factor"), [("4x", 4.0), ("5x", 5.0)])
def test_stop_rules(stop: str, factor: float) -> None:
    loss = valley()
    found = read(LR, loss, Rules(smoothing="none", stop=stop))
    kept = np.isfinite(found.smoothed).sum()
    assert loss[kept - 1] <= factor * 0.5 < loss[kept]


def test_a_loss_below_zero_is_no_reason_to_stop() -> None:
    found = read(LR, valley() - 10, Rules(smoothing="none", stop="4x"))
    assert np.isfinite(found.smoothed).all()
    assert found.lowest == pytest.approx(1e-2)


@pytest.mark.parametrize(
    "loss",
    [
        np.full(T, 2.0),
        2 + np.random.default_rng(0).normal(0, 0.3, T),
        np.linspace(2, 3, T),
        np.full(T, np.nan),
        np.r_[2.0, np.full(T - 1, np.inf)],
    ],
    ids=["flat", "noise", "rising", "nothing", "at once"],
)
def test_what_never_learns_has_one_region(loss: np.ndarray) -> None:
    found = read(LR, loss)
    assert found.regions == 1
    assert found.picked is None
    assert found.begins is None


def test_what_never_diverges_has_two() -> None:
    loss = np.where(LR < 1e-2, valley(), 0.5)
    found = read(LR, loss)
    assert found.regions == 2
    assert found.diverges is None
