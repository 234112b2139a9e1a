"""Parameters on [0, 1]: what samplers of our own draw from, and what Optuna knows them as."""

from __future__ import annotations

import math
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution


def from_unit(distribution: BaseDistribution, u: float) -> Any:
    """The value at a share of a range (of its logarithm where it is logarithmic), or a choice.

    Args:
        u: in [0, 1]; the ends give the bounds themselves.
    """
    if isinstance(distribution, CategoricalDistribution):
        options = distribution.choices
        return options[min(int(u * len(options)), len(options) - 1)]
    assert isinstance(distribution, FloatDistribution)
    low, high = distribution.low, distribution.high
    if distribution.log:
        value = math.exp(math.log(low) + u * math.log(high / low))
    else:
        value = low + u * (high - low)
    return min(max(value, low), high)


def to_unit(distribution: FloatDistribution, value: float) -> float:
    """The share of its range at which a value lies."""
    low, high = distribution.low, distribution.high
    if distribution.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
