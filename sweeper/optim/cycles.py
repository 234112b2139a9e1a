"""Schedules that rise again: cyclical learning rates, warm restarts, 1cycle. See schedules.py.

`made` are the steps since the warm-up `[steps, K]`, `span` those from the warm-up to the horizon
`[K]`, all float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from sweeper.optim.array import Array

Values = Mapping[str, Array]


def cyclical(made: Array, span: Array, values: Values) -> Array:
    """Smith 2015 (1506.01186), as torch's CyclicLR: base + (1 - base) * height."""
    del span
    return values["base"] + (1 - values["base"]) * _height(made, values)


def cyclical_momentum(made: Array, span: Array, values: Values) -> Array:
    """torch's CyclicLR: highest where the learning rate is lowest."""
    del span
    low, high = values["base_momentum"], values["max_momentum"]
    return high - (high - low) * _height(made, values)


def _height(made: Array, values: Values) -> Array:
    """How far up the triangle, times what is left of its peak."""
    up = values["step_size_up"]
    down = np.where(values["step_size_down"] > 0, values["step_size_down"], up)
    total = up + down
    cycle = np.floor(made / total)
    at = made - cycle * total
    rise = np.where(at <= up, at / up, (total - at) / down)
    peak = np.where(values["mode"] == 1, 0.5**cycle, 1.0)
    return rise * np.where(values["mode"] == 2, values["gamma"] ** made, peak)


def sgdr(made: Array, span: Array, values: Values) -> Array:
    """Loshchilov & Hutter 2016 (1608.03983) eq. 5, as torch's CosineAnnealingWarmRestarts.

    Period i begins at T_0 (T_mult^i - 1) / (T_mult - 1) and is T_0 T_mult^i long.
    """
    del span
    first, ratio = values["T_0"], values["T_mult"]
    is_even = ratio == 1
    growth = np.where(is_even, 2.0, ratio)

    def begins(period: Array) -> Array:
        grown = first * (growth**period - 1) / (growth - 1)
        return np.where(is_even, first * period, grown)

    grown = np.log1p(made / first * (growth - 1)) / np.log(growth)
    period = np.floor(np.where(is_even, made / first, grown))
    # The logarithm may miss the very step of a restart by its rounding.
    period = np.where(begins(period + 1) <= made, period + 1, period)
    period = np.where(begins(period) > made, period - 1, period)
    share = (made - begins(period)) / np.where(is_even, first, first * growth**period)
    left: Array = (1 + np.cos(math.pi * share)) / 2
    return values["final"] + (1 - values["final"]) * left


def onecycle(made: Array, span: Array, values: Values) -> Array:
    """Smith & Topin 2017 (1708.07120), as torch's OneCycleLR(total_steps=span)."""
    first = 1 / values["div_factor"]
    last = first / values["final_div_factor"]
    peak = np.ones_like(first)
    return _phases(made, span, values, first, peak, first, last)


def onecycle_momentum(made: Array, span: Array, values: Values) -> Array:
    """torch's OneCycleLR: from max_momentum down to base_momentum at the peak, and back."""
    low, high = values["base_momentum"], values["max_momentum"]
    return _phases(made, span, values, high, low, high, high)


def _phases(
    made: Array,
    span: Array,
    values: Values,
    first: Array,
    peak: Array,
    third: Array,
    last: Array,
) -> Array:
    """From `first` to `peak`, and on to `last`; with three phases by way of `third`."""
    is_linear = values["anneal_strategy"] == 1
    top = values["pct_start"] * span - 1
    end = span - 1

    def anneal(start: Array, stop: Array, since: Array, until: Array) -> Array:
        # A phase of no steps is over before it begins.
        part = np.where(until > since, (made - since) / (until - since), 1.0)
        share = np.clip(part, 0, 1)
        left = np.where(is_linear, 1 - share, (1 + np.cos(math.pi * share)) / 2)
        return stop + (start - stop) * left

    rising = anneal(first, peak, np.zeros_like(top), top)
    bottom = 2 * values["pct_start"] * span - 2
    two = anneal(peak, last, top, end)
    three = np.where(
        made <= bottom, anneal(peak, third, top, bottom), anneal(third, last, bottom, end)
    )
    falling = np.where(values["three_phase"] == 1, three, two)
    return np.where(made <= top, rising, falling)
