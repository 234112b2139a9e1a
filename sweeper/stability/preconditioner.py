"""How the divisor of a gradient falls once gradients are small beside their second moment.

Then v <- beta2 v + (1 - beta2) g^2 only decays, and the bias-corrected root, measured after t0
updates, is after t

    sqrt(vhat(t) / vhat(t0)) = beta2^((t - t0) / 2) c(t),  c(t)^2 = (1 - beta2^t0) / (1 - beta2^t)

(c = 1 for RMSprop, which corrects no bias). eps stays, or where it is added before the bias
correction (`eps_hat`, RAdam) goes with c. The state of a step is that after so many updates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sweeper.optim.array import Array
from sweeper.optim.configuration import Configuration

_SECOND = {
    "adam": "beta2",
    "nadam": "beta2",
    "radam": "beta2",
    "stable_adamw": "beta2",
    "rmsprop": "alpha",
}


def no_fall(configuration: Configuration) -> str | None:
    """Why the divisor doesn't fall as in this module, in words; None where it does.

    A rule that divides by nothing has a constant divisor, which is known too.
    """
    values = configuration.values
    if values.get("amsgrad"):
        return "AMSGrad divides by the largest second moment seen, which never falls"
    if configuration.rule == "adagrad":
        return "Adagrad's sum of squares only grows, so the sharpness grows with lr alone"
    if values.get("centered"):
        return "a centered second moment falls in a way that depends on the mean gradient"
    return None


def is_eps_corrected(configuration: Configuration) -> bool:
    """Whether the bias correction of the second moment applies to eps as well."""
    return configuration.rule == "radam" or bool(configuration.values.get("eps_hat"))


def correction(configuration: Configuration, step: Array) -> Array:
    """1 / sqrt(1 - beta2^step) after `step` >= 1 updates, `[T]`; 1 without bias correction.

    StableAdamW's average has it built in.
    """
    if configuration.rule not in _SECOND or configuration.rule == "rmsprop":
        return np.ones_like(step)
    beta2 = float(configuration.values["beta2"])
    unbiased: Array = 1 / np.sqrt(1 - beta2**step)
    return unbiased


class Shares(NamedTuple):
    """What is left, `[T]` each, of the second moment's root and of eps."""

    root: Array
    eps: Array


def left(configuration: Configuration, start: int, step: Array) -> Shares:
    """What is left after `step` updates of the divisor that there was after `start`.

    Args:
        start: t0 >= 1.
        step: `[T]` float64, >= start.
    """
    ones = np.ones_like(step)
    if configuration.rule not in _SECOND:
        return Shares(ones, ones)
    beta2 = float(configuration.values[_SECOND[configuration.rule]])
    corrected = correction(configuration, step)
    corrected = corrected / correction(configuration, np.array([float(start)]))
    root = corrected * beta2 ** ((step - start) / 2)
    return Shares(root, corrected if is_eps_corrected(configuration) else ones)
