"""The sharpness at which an optimizer becomes unstable: the edge of stability, as a number.

Along one eigenvector of a quadratic a step is x <- (1 - lr wd) x - S (G g): S is lr times the
eigenvalue of the (preconditioned) Hessian, wd the decoupled weight decay, and G the momentum as a
linear filter of the gradient. The first root to leave the unit circle is z = -1, an oscillation of
period 2, and it does so at S = (2 - lr wd) / G(-1): 38 for Adam with beta1 0.9, 2 for plain
gradient descent. Cohen et al. 2021 (2103.00065) for momentum, 2022 (2207.14484) for Adam.

G is that of the long run: the bias correction of the first moment, which lowers the threshold
during the first 1 / (1 - beta1) steps, is left out. What a rule multiplies lr by beside its
schedule (r_t of RAdam, lr_decay of Adagrad) counts in G, not in S.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sweeper.optim.array import Array
from sweeper.optim.configuration import Configuration
from sweeper.stability import course

_NONE = {
    "lion": "Lion's steps have the same length whatever the gradient: no curvature is too sharp",
    "adai": "Adai's inertia differs by coordinate, and so does its threshold",
}


def no_threshold(configuration: Configuration) -> str | None:
    """Why an optimizer has no threshold, in words; None where it has one."""
    return _NONE.get(configuration.rule)


def threshold(configuration: Configuration, horizon: int, step: Array) -> Array:
    """The largest stable lr lambda_max of the update that follows `step` updates.

    lambda_max is the top eigenvalue of P^-1/2 H P^-1/2, where P is what the rule divides by; of
    the Hessian H itself where it divides by nothing. StableAdamW's is that of steps which aren't
    shortened (RMS_t <= 1), as they are while the second moment is older than the gradient.

    Args:
        horizon: steps that the schedule is stretched over; it may cycle beta1.
        step: `[T]` float64, >= 0.

    Returns:
        `[T]`; NaN where there is none: for rules of which `no_threshold` says so, and in RAdam's
        first steps, which aren't preconditioned.
    """
    if configuration.rule not in _GAINS:
        return np.full(step.shape, np.nan)
    momentum = course.momentum(configuration, horizon, step)
    gain = _GAINS[configuration.rule](configuration.values, momentum, step)
    decay = float(configuration.values["weight_decay"]) if configuration.is_decoupled else 0.0
    most = np.full(step.shape, 2.0)
    if decay:
        most = most - decay * course.learning_rate(configuration, horizon, step)
    with np.errstate(divide="ignore"):  # a dampening of 1 lets no gradient through
        edge: Array = most / gain
    return edge


_Values = Mapping[str, float | bool]


def _average(values: _Values, beta1: Array, step: Array) -> Array:
    """Of m = beta1 m + (1 - beta1) g."""
    del values, step
    return (1 - beta1) / (1 + beta1)


def _nadam(values: _Values, beta1: Array, step: Array) -> Array:
    """Of (1 - mu_t) g + mu_(t+1) m."""
    decay = float(values["momentum_decay"])
    now, following = (beta1 * (1 - 0.5 * 0.96 ** ((step + n) * decay)) for n in (1, 2))
    gain: Array = 1 - now + following * (1 - beta1) / (1 + beta1)
    return gain


def _radam(values: _Values, beta1: Array, step: Array) -> Array:
    """Of r_t m; r_t by Liu et al. 2019, Algorithm 2, and NaN where the step isn't rectified."""
    beta2, t = float(values["beta2"]), step + 1
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / (1 - beta2**t)
    # What isn't rectified is computed at any rectified length, and then left out.
    above, most = np.where(length > 5, length, 6.0), max(longest, 6.0)
    r = np.sqrt((above - 4) * (above - 2) * most / ((most - 4) * (most - 2) * above))
    return np.where(length > 5, r * _average(values, beta1, step), np.nan)


def _sgd(values: _Values, momentum: Array, step: Array) -> Array:
    """Of buf = momentum buf + (1 - dampening) g; Nesterov's is g + momentum buf."""
    del step
    buffer = (1 - float(values["dampening"])) / (1 + momentum)
    # Without momentum there is no buffer, and dampening has no effect.
    plain = np.where(momentum > 0, buffer, 1.0)
    return 1 + momentum * buffer if values["nesterov"] else plain


def _rmsprop(values: _Values, momentum: Array, step: Array) -> Array:
    """Of buf = momentum buf + g."""
    del values, step
    return 1 / (1 + momentum)


def _adagrad(values: _Values, momentum: Array, step: Array) -> Array:
    """Of g / (1 + steps made * lr_decay)."""
    del momentum
    return 1 / (1 + step * float(values["lr_decay"]))


_GAINS: dict[str, Callable[[_Values, Array, Array], Array]] = {
    "adam": _average,
    "stable_adamw": _average,
    "nadam": _nadam,
    "radam": _radam,
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
}
