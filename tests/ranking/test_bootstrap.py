"""The bootstrap standard error."""

from functools import partial

import numpy as np
import pytest

from sweeper.ranking.bootstrap import standard_error
from sweeper.ranking.objective import cvar_mean

mean = partial(np.mean, axis=-1)


@pytest.mark.parametrize("n", [2, 3, 5, 20, 200])
def test_of_the_mean_it_is_the_closed_form(n: int) -> None:
    values = np.random.default_rng(n).normal(-3.0, 2.0, n)
    # Over all resamples the variance of a mean is that of the values (ddof 0) over n.
    expected = values.std() / np.sqrt(n)
    assert standard_error(values, mean, resamples=20_000) == pytest.approx(expected, rel=0.03)


def test_of_the_largest_of_two() -> None:
    # The largest of a resample of (0, 1) is 0 with probability 1/4: its deviation is sqrt(3)/4.
    found = standard_error([0.0, 1.0], partial(cvar_mean, share=0.4), resamples=20_000)
    assert found == pytest.approx(np.sqrt(3) / 4, rel=0.02)


def test_the_seed_decides() -> None:
    values = [1.0, 2.0, 4.0]
    assert standard_error(values, mean, seed=1) == standard_error(values, mean, seed=1)
    assert standard_error(values, mean, seed=1) != standard_error(values, mean, seed=2)


def test_one_value_and_equal_values_have_none() -> None:
    assert standard_error([5.0], mean) == 0.0
    assert standard_error([-1.0, -1.0, -1.0], mean) == 0.0
