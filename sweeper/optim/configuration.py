"""A configuration: one optimizer, its hyperparameters and its schedule, checked and complete.

The vocabulary is that of torch.optim: `{optimizer: adam, lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8,
weight_decay: 0, amsgrad: false, schedule: {kind: cosine, warmup: 0.05, final: 0.0}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.errors import SweepError, nearest, one_of, shown
from sweeper.optim import catalog


@dataclass(frozen=True, slots=True)
class Schedule:
    """A learning-rate schedule; lengths are fractions of the horizon or numbers of steps.

    Args:
        kind: `constant` or `cosine`.
        warmup: length of the linear warm-up, a fraction in [0, 1] or an int of steps.
        final: last learning rate as a share of the peak, in [0, 1].
    """

    kind: str = "constant"
    warmup: float | int = 0.0
    final: float = 1.0

    def warmup_steps(self, horizon: int) -> int:
        """Steps of warm-up in a run of `horizon` steps."""
        if isinstance(self.warmup, int):
            return self.warmup
        return round(self.warmup * horizon)

    def to_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = {"kind": self.kind}
        for name in catalog.SCHEDULES[self.kind]:
            value = getattr(self, name)
            is_steps = name in catalog.LENGTHS and isinstance(value, int)
            values[name] = {"steps": value} if is_steps else value
        return values


@dataclass(frozen=True, slots=True)
class Configuration:
    """One point of the search space. `values` holds every hyperparameter of the optimizer."""

    optimizer: str
    values: dict[str, float | bool]
    schedule: Schedule

    @property
    def rule(self) -> str:
        """Name of the update rule (adam and adamw share one)."""
        return catalog.OPTIMIZERS[self.optimizer].rule

    def to_dict(self) -> dict[str, Any]:
        """The complete configuration in the user's vocabulary; `parse` reads it back."""
        values: dict[str, Any] = dict(self.values)
        if "beta1" in values:
            betas = [values.pop("beta1"), values.pop("beta2")]
            values = {"lr": values.pop("lr"), "betas": betas, **values}
        return {"optimizer": self.optimizer, **values, "schedule": self.schedule.to_dict()}


def parse(raw: object, where: str = "") -> Configuration:
    """Check a configuration and fill in the defaults.

    Raises:
        SweepError: unknown optimizer, schedule or key, a value of the wrong type or out of its
            range, or a hyperparameter that the optimizer doesn't have.
    """
    if not isinstance(raw, Mapping):
        raise SweepError(
            f"{shown(raw)} is not a configuration",
            where=where,
            allowed="a mapping such as {optimizer: adam, lr: 1e-3}",
        )
    given = dict(raw)
    name = given.pop("optimizer", "adam")
    known = catalog.optimizer(name, join(where, "optimizer")).hyperparameters
    for key in given:
        if not isinstance(key, str):
            raise SweepError(f"the key {shown(key)} is not text", where=where)
    schedule = parse_schedule(given.pop("schedule", "constant"), join(where, "schedule"))
    _refuse_later(given, where)
    _unfold_betas(given, str(name), where)
    for key in given:
        check_key(key, str(name), where)
    values = {
        key: kind.check(given.get(key, kind.default), join(where, key))
        for key, kind in known.items()
    }
    return Configuration(str(name), values, schedule)


def parse_schedule(raw: object, where: str) -> Schedule:
    """Check a schedule: a kind by name, or a mapping with `kind` and its parameters."""
    given = {"kind": raw} if isinstance(raw, str) else raw
    if not isinstance(given, Mapping) or "kind" not in given:
        raise SweepError(
            f"{shown(raw)} is not a schedule",
            where=where,
            allowed="a name, or a mapping such as {kind: cosine, warmup: 0.05}",
        )
    parameters = catalog.schedule(given["kind"], where)
    values: dict[str, Any] = {}
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
        values[key] = _length_or_real(key, value, parameters[key], join(where, str(key)))
    defaults = {key: kind.default for key, kind in parameters.items()}
    return Schedule(kind=str(given["kind"]), **{**defaults, **values})


def check_key(key: str, name: str, where: str) -> None:
    """Refuse a hyperparameter that the optimizer doesn't have."""
    known = catalog.OPTIMIZERS[name].hyperparameters
    if key not in known:
        words = {*known, "schedule"} | ({"betas"} if "beta1" in known else set())
        raise SweepError(
            f"{name} has no hyperparameter {key!r}",
            where=where,
            allowed=one_of(words),
            cure=nearest(key, words),
        )


def check_horizon(configuration: Configuration, horizon: int, where: str = "schedule") -> None:
    """Refuse a schedule that is longer than the run."""
    warmup = configuration.schedule.warmup_steps(horizon)
    if warmup > horizon:
        raise SweepError(
            f"a warm-up of {shown(warmup)} steps is longer than the horizon",
            where=join(where, "warmup"),
            allowed=f"at most {horizon} steps",
        )


def join(where: str, key: str) -> str:
    """A key below `where`, in dotted form."""
    return f"{where}.{key}" if where else key


def _length_or_real(key: str, value: object, kind: catalog.Real, where: str) -> float | int:
    if key in catalog.LENGTHS and isinstance(value, Mapping):
        steps = value.get("steps")
        if set(value) != {"steps"} or isinstance(steps, bool) or not isinstance(steps, int):
            raise SweepError(f"{shown(value)} is not a length", where=where, allowed=kind.doc)
        if steps < 0:
            raise SweepError(f"{shown(steps)} steps", where=where, allowed="0 or more steps")
        return steps
    return kind.check(value, where)


def _refuse_later(given: dict[str, Any], where: str) -> None:
    for key, neutral in catalog.LATER.items():
        if key in given and given.pop(key) != neutral:
            raise SweepError(
                f"{key} is not available in this version",
                where=join(where, key),
                allowed=f"{neutral!r}, or leave it out",
            )


def _unfold_betas(given: dict[str, Any], name: str, where: str) -> None:
    if "betas" not in given:
        return
    if "beta1" not in catalog.OPTIMIZERS[name].hyperparameters:
        check_key("betas", name, where)
    betas = given.pop("betas")
    if not isinstance(betas, list | tuple) or len(betas) != 2:
        raise SweepError(
            f"{shown(betas)} is not a pair",
            where=join(where, "betas"),
            allowed="[beta1, beta2]",
        )
    for key, value in zip(("beta1", "beta2"), betas, strict=True):
        if key in given:
            raise SweepError(
                f"both betas and {key} are given", where=where, cure="Leave one of them out."
            )
        given[key] = value
