"""The learning rate and the momentum of one configuration at any step, by its schedule.

A step is the number of updates already made: 0 before the first. Past the horizon that a schedule
is stretched over, it goes on by its formula (see sweeper.optim.schedules).
"""

from __future__ import annotations

import numpy as np

from sweeper.optim import schedules
from sweeper.optim.array import Array
from sweeper.optim.catalog import OPTIMIZERS
from sweeper.optim.configuration import Configuration


def learning_rate(configuration: Configuration, horizon: int, step: Array) -> Array:
    """The learning rate of the update that follows `step` updates, `[T]` float64."""
    schedule, peak = configuration.schedule, float(configuration.values["lr"])
    if schedule.kind == "constant" and schedule.warmup_steps(horizon) == 0:
        return np.full(step.shape, peak)  # the usual case, asked thousands of times
    kind, span, values = _broadcast(configuration, horizon)
    share = schedules.factor(kind, step, span, values)
    return peak * np.broadcast_to(share, step.shape)


def momentum(configuration: Configuration, horizon: int, step: Array) -> Array:
    """The momentum or beta1 of that update, `[T]` float64; 0 for optimizers without one."""
    name = OPTIMIZERS[configuration.optimizer].cycled
    own = np.full(step.shape, 0.0 if name is None else float(configuration.values[name]))
    if name is None or not configuration.schedule.values.get("cycle_momentum"):
        return own
    kind, span, values = _broadcast(configuration, horizon)
    cycled = schedules.momentum(kind, step, span, values)
    return own if cycled is None else cycled


def _broadcast(configuration: Configuration, horizon: int) -> tuple[str, Array, dict[str, Array]]:
    """A schedule's kind, horizon and values, the latter two as arrays of one row."""
    schedule = configuration.schedule
    values = schedules.row_values(schedule, horizon)
    return (
        schedule.kind,
        np.array([float(horizon)]),
        {name: np.array([value]) for name, value in values.items()},
    )
