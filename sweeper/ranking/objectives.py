"""What a search optimises: robust_loss, or metrics that the task's `evaluate` returns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sweeper.errors import SweepError, nearest, one_of, shown
from sweeper.ranking.objective import Result, cvar_mean


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective; `direction` is minimize or maximize."""

    name: str
    direction: Literal["minimize", "maximize"] = "minimize"

    @property
    def is_loss(self) -> bool:
        """Whether it is robust_loss, which every trial has."""
        return self == ROBUST_LOSS

    def cost(self, value: float | None) -> float:
        """A value as something to minimise: infinity where it is missing or not finite."""
        if value is None or not math.isfinite(value):
            return math.inf
        return -value if self.direction == "maximize" else value

    def value(self, cost: float) -> float:
        """The value of a cost."""
        return -cost if self.direction == "maximize" else cost


ROBUST_LOSS = Objective("robust_loss")
DEFAULT = (ROBUST_LOSS,)
DIRECTIONS: tuple[Literal["minimize", "maximize"], ...] = ("minimize", "maximize")
_KEYS = ("metric", "direction")
_ALLOWED = "robust_loss, or {metric: name, direction: minimize or maximize}"


def parse_objectives(raw: object, where: str = "objective") -> tuple[Objective, ...]:
    """The objectives of a spec: one, or a list of them.

    Raises:
        SweepError: anything else, none at all, or one twice.
    """
    if not isinstance(raw, list | tuple):
        return (_parse(raw, where),)
    found = tuple(_parse(one, f"{where}[{index}]") for index, one in enumerate(raw))
    if not found or len({one.name for one in found}) != len(found):
        raise SweepError(shown(raw), where=where, allowed="one objective or more, all different")
    return found


def _parse(raw: object, where: str) -> Objective:
    if raw == ROBUST_LOSS.name:
        return ROBUST_LOSS
    if not isinstance(raw, Mapping):
        cure = nearest(raw, [ROBUST_LOSS.name])
        raise SweepError(shown(raw), where=where, allowed=_ALLOWED, cure=cure)
    for key in raw:
        if key not in _KEYS:
            raise SweepError(
                f"unknown key {shown(key)}",
                where=where,
                allowed=one_of(_KEYS),
                cure=nearest(key, _KEYS),
            )
    for key in _KEYS:
        if key not in raw:
            raise SweepError(f"the key {key!r} is missing", where=where, allowed=_ALLOWED)
    name, direction = raw["metric"], raw["direction"]
    if not isinstance(name, str) or not name or name == ROBUST_LOSS.name:
        allowed = "the name of a metric that the task's evaluate returns"
        raise SweepError(shown(name), where=f"{where}.metric", allowed=allowed)
    for known in DIRECTIONS:
        if direction == known:
            return Objective(name, known)
    raise SweepError(
        shown(direction),
        where=f"{where}.direction",
        allowed=one_of(DIRECTIONS),
        cure=nearest(direction, DIRECTIONS),
    )


def metric_costs(results: Sequence[Result], objective: Objective) -> np.ndarray:
    """What each run costs, `[n]`: infinity for one that has no finite metric of that name.

    A run that turned non-finite has none: there is no model left to evaluate.
    """
    return np.array(
        [
            objective.cost((result.get("evaluation") or {}).get(objective.name))
            for result in results
        ]
    )


def metric_value(results: Sequence[Result], objective: Objective, cvar: float) -> float | None:
    """Mean of the worst ceil(cvar * n) runs in the objective's bad direction.

    None where a run has no metric: it is worse than all, so it is always among the worst.
    """
    cost = float(cvar_mean(metric_costs(results, objective), cvar))
    return objective.value(cost) if math.isfinite(cost) else None


def objective_values(
    found: Mapping[str, Any],
    results: Sequence[Result],
    objectives: Sequence[Objective],
    cvar: float,
) -> dict[str, Any]:
    """What a trial's result says of its objectives: nothing of robust_loss alone.

    Args:
        found: the result so far, see `trial_result`.
        results: verdicts of the runs.
    """
    if tuple(objectives) == DEFAULT:
        return {}
    values = {
        one.name: found[one.name] if one.is_loss else metric_value(results, one, cvar)
        for one in objectives
    }
    return {"objectives": values}


def objective_value(found: Mapping[str, Any], objective: Objective) -> float | None:
    """The value of one objective in a trial's result."""
    values = found if objective.is_loss else found.get("objectives") or {}
    value: float | None = values.get(objective.name)
    return value
