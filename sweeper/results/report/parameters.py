"""Where a trial lies in the search space, and how a parameter is put on an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sweeper.errors import SweepError, nearest
from sweeper.optim.configuration import flatten
from sweeper.results.report import style
from sweeper.results.report.facts import Facts
from sweeper.space import Choice, Parameter, Range

_JITTER = 0.16


def parameters(facts: Facts) -> dict[str, Parameter]:
    """What was searched, by name."""
    return {parameter.name: parameter for parameter in facts.spec.parsed_space.flat()}


def named(facts: Facts, name: str) -> Parameter:
    """A parameter by its name; raises SweepError where it was not searched."""
    known = parameters(facts)
    if name not in known:
        raise SweepError(
            f"{name!r} was not searched",
            allowed=", ".join(known),
            cure=nearest(name, known),
        )
    return known[name]


def drawn(parameter: Parameter, draws: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """What was drawn for a parameter, of a baseline what would have been; None for nothing."""
    if parameter.name in draws:
        return draws[parameter.name]
    if draws:
        return None  # of a branch that was not taken
    value = _configured(parameter, flatten(config))
    if isinstance(parameter, Choice):
        return value if value in parameter.labels else None
    if not isinstance(value, int | float):
        return None
    found = 1.0 - value if parameter.kind == "one_minus_log_uniform" else float(value)
    return found if found > 0 or not parameter.is_log else None


def _configured(parameter: Parameter, flat: Mapping[str, Any]) -> Any:
    """The value in a complete configuration; `schedule.cosine.final` is its `schedule.final`."""
    name = parameter.name
    if name == "schedule":
        return flat.get("schedule.kind")
    first, *rest = name.split(".")
    if first == "schedule" and len(rest) == 2:
        return flat.get(f"schedule.{rest[1]}") if flat.get("schedule.kind") == rest[0] else None
    return flat.get(name)


def positions(
    parameter: Parameter, values: Sequence[Any], trials: Sequence[int], stride: float
) -> np.ndarray:
    """Places on an axis, NaN for None; the options of a choice are spread a little, by trial.

    Args:
        stride: of the spread, another one for each axis.
    """
    if isinstance(parameter, Range):
        return np.array([np.nan if value is None else value for value in values], dtype=float)
    spread = [_JITTER * (2 * ((stride * trial) % 1.0) - 1) for trial in trials]
    return np.array(
        [
            np.nan if value is None else parameter.labels.index(value) + by
            for value, by in zip(values, spread, strict=True)
        ]
    )


def put_on_axis(ax: Axes, parameter: Parameter, *, along: str) -> None:
    """Scale, ends and label of an axis; `along` is x or y."""
    axis = ax.xaxis if along == "x" else ax.yaxis
    set_limits = ax.set_xlim if along == "x" else ax.set_ylim
    axis.set_label_text(style.plain(label(parameter)))
    if isinstance(parameter, Choice):
        axis.set_ticks(range(len(parameter.labels)))
        axis.set_ticklabels([style.plain(one) for one in parameter.labels])
        set_limits(-0.5, len(parameter.labels) - 0.5)
        return
    low, high = parameter.low, parameter.high
    if parameter.is_log:
        (ax.set_xscale if along == "x" else ax.set_yscale)("log")
        margin = (high / low) ** 0.04
        set_limits(low / margin, high * margin)
    else:
        margin = 0.04 * (high - low)
        set_limits(low - margin, high + margin)


def label(parameter: Parameter) -> str:
    """The name of what stands on the axis."""
    is_share = isinstance(parameter, Range) and parameter.kind == "one_minus_log_uniform"
    return f"1 - {parameter.name}" if is_share else parameter.name
