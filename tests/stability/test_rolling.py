"""Rolling minima, means and streaks against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.stability.rolling import rolling_min, streak_lengths, trailing_mean

numbers = st.floats(-1e300, 1e300, allow_nan=False)
many = settings(max_examples=200, deadline=None, derandomize=True)


@many
@given(st.lists(numbers, min_size=1, max_size=60), st.data())
def test_rolling_min(values: list[float], data: st.DataObject) -> None:
    width = data.draw(st.integers(1, len(values)))
    expected = [min(values[i : i + width]) for i in range(len(values) - width + 1)]
    assert rolling_min(np.array(values), width).tolist() == expected


@many
@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=60), st.integers(1, 70))
def test_trailing_mean(values: list[float], width: int) -> None:
    expected = [np.mean(values[max(0, i + 1 - width) : i + 1]) for i in range(len(values))]
    found = trailing_mean(np.array(values), width)
    assert found.shape == (len(values),)
    assert found == pytest.approx(np.array(expected), rel=1e-14)


def test_a_mean_of_one_is_the_value() -> None:
    values = np.array([0.1, -3.0, 1e300])
    assert trailing_mean(values, 1).tolist() == values.tolist()


@pytest.mark.parametrize("at", range(12))
def test_a_spike_leaves_nothing_behind(at: int) -> None:
    values = np.full(40, 0.1)
    clean = trailing_mean(values, 5)
    values[at] = 1e300
    spiked = trailing_mean(values, 5)
    assert spiked[:at].tolist() == clean[:at].tolist()
    assert spiked[at + 5 :].tolist() == clean[at + 5 :].tolist()
    assert (spiked[at : at + 5] > 1e299).all()


@many
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 9))
def test_streak_lengths(over: list[bool], before: int) -> None:
    expected, length = [], before
    for one in over:
        length = length + 1 if one else 0
        expected.append(length)
    assert streak_lengths(np.array(over), before).tolist() == expected


@many
@given(st.lists(st.booleans(), min_size=2, max_size=60), st.data())
def test_streaks_go_on_over_a_cut(over: list[bool], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(over) - 1))
    first = streak_lengths(np.array(over[:cut]), 0)
    second = streak_lengths(np.array(over[cut:]), int(first[-1]))
    whole = streak_lengths(np.array(over), 0)
    assert [*first.tolist(), *second.tolist()] == whole.tolist()
