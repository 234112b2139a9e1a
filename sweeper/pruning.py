"""Pruners by name, with their options: the key `prune` of a spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import SweepError, nearest, one_of, shown


@dataclass(frozen=True, slots=True)
class _Option:
    """A number from `least` to `most`."""

    default: int | float | None  # None depends on the horizon
    least: float
    most: float | None = None
    is_whole: bool = True

    @property
    def allowed(self) -> str:
        kind = "an int" if self.is_whole else "a number"
        return f"{kind} >= {self.least:g}" + ("" if self.most is None else f", <= {self.most:g}")

    def takes(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.is_whole else int | float):
            return False
        return self.least <= value and (self.most is None or value <= self.most)


_MIN_RESOURCE = _Option(None, 1)
# By pruner: `none` and `hopeless` end nothing that a verdict doesn't end.
_PRUNERS: dict[str, dict[str, _Option]] = {
    "none": {},
    "hopeless": {},
    "median": {"n_startup_trials": _Option(5, 0), "n_warmup_steps": _Option(0, 0)},
    "successive_halving": {"min_resource": _MIN_RESOURCE, "reduction_factor": _Option(4, 2)},
    "hyperband": {"min_resource": _MIN_RESOURCE, "reduction_factor": _Option(3, 2)},
    "wilcoxon": {
        "p_threshold": _Option(0.1, 0, 1, is_whole=False),
        "n_startup_steps": _Option(2, 0),
    },
}


@dataclass(frozen=True, slots=True)
class Pruning:
    """A pruner by name, with all of its options; None is one that depends on the horizon."""

    name: str = "none"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_on(self) -> bool:
        """Whether trials are compared, and the worse ones ended."""
        return self.name not in ("none", "hopeless")

    @property
    def by_rungs(self) -> bool:
        """Whether they are compared while their runs train, by the loss at some steps."""
        return self.is_on and self.name != "wilcoxon"


def parse_pruning(raw: object, where: str = "prune") -> Pruning:
    """The pruner of a spec: a name, or `{pruner: name, option: value, ...}`.

    Raises:
        SweepError: anything else, an unknown name or option, or a value out of range.
    """
    given = {"pruner": raw} if isinstance(raw, str) else raw
    if not isinstance(given, Mapping) or "pruner" not in given:
        allowed = "a name, or {pruner: name, option: value, ...}"
        raise SweepError(shown(raw), where=where, allowed=allowed)
    name = given["pruner"]
    if not isinstance(name, str) or name not in _PRUNERS:
        raise SweepError(
            shown(name),
            where=where if isinstance(raw, str) else f"{where}.pruner",
            allowed=one_of(_PRUNERS),
            cure=nearest(name, _PRUNERS),
        )
    known = _PRUNERS[name]
    values = {key: option.default for key, option in known.items()}
    for key, value in given.items():
        if key != "pruner":
            _check(name, key, value, where)
            values[key] = value
    return Pruning(name, values)


def _check(name: str, key: object, value: object, where: str) -> None:
    known = _PRUNERS[name]
    if not isinstance(key, str) or key not in known:
        raise SweepError(
            f"unknown option {shown(key)} of {name}",
            where=where,
            allowed=one_of(known) or "none at all",
            cure=nearest(key, known),
        )
    if not known[key].takes(value):
        raise SweepError(shown(value), where=f"{where}.{key}", allowed=known[key].allowed)
