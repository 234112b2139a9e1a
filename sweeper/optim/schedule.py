"""A learning-rate schedule as a user writes it, checked and complete. Formulas: schedules.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.errors import SweepError, nearest, one_of, shown
from sweeper.optim import schedule_catalog
from sweeper.optim.hyperparameters import Value, join, steps_of, written


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule. `values` holds every parameter of its kind.

    A length is a fraction of the horizon (float) or an absolute number of steps (int).
    """

    kind: str
    values: dict[str, Value]

    def steps(self, name: str, horizon: int) -> int:
        """A length in steps of a run of `horizon` steps."""
        value = self.values[name]
        assert isinstance(value, float | int)
        return steps_of(value, horizon)

    def warmup_steps(self, horizon: int) -> int:
        """Steps of warm-up in a run of `horizon` steps."""
        return self.steps("warmup", horizon)

    def to_dict(self) -> dict[str, Any]:
        kinds = schedule_catalog.SCHEDULES[self.kind]
        values = {name: written(self.values[name], kind) for name, kind in kinds.items()}
        return {"kind": self.kind, **values}


def parse_schedule(raw: object, where: str) -> Schedule:
    """Check a schedule: a kind by name, or a mapping with `kind` and its parameters.

    A flag `cycle_momentum` that is not given stays out: it depends on the optimizer.
    """
    given = {"kind": raw} if isinstance(raw, str) else raw
    if not isinstance(given, Mapping) or "kind" not in given:
        raise SweepError(
            f"{shown(raw)} is not a schedule",
            where=where,
            allowed="a name, or a mapping such as {kind: cosine, warmup: 0.05}",
        )
    parameters = schedule_catalog.schedule(given["kind"], where)
    values: dict[str, Value] = {}
    for key, value in given.items():
        if key == "kind":
            continue
        if key not in parameters:
            raise SweepError(
                f"schedule {given['kind']!r} has no parameter {shown(key)}",
                where=where,
                allowed=one_of(parameters),
                cure=nearest(key, parameters),
            )
        values[key] = parameters[key].check(value, join(where, str(key)))
    defaults = {key: kind.default for key, kind in parameters.items()}
    schedule = Schedule(str(given["kind"]), {**defaults, **values})
    _check_shape(schedule, where)
    return schedule


def _check_shape(schedule: Schedule, where: str) -> None:
    """Refuse values that contradict each other."""
    values = schedule.values
    start = values.get("pct_start")
    if values.get("three_phase") and isinstance(start, float) and start >= 0.5:
        raise SweepError(
            f"{start:g} leaves nothing for the last phase",
            where=join(where, "pct_start"),
            allowed="less than 0.5 with three_phase",
        )
    low, high = values.get("base_momentum"), values.get("max_momentum")
    if isinstance(low, float) and isinstance(high, float) and low > high:
        raise SweepError(
            f"base_momentum {low:g} is above max_momentum {high:g}",
            where=where,
            allowed="base_momentum <= max_momentum",
        )
