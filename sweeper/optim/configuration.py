"""A configuration: one optimizer, its hyperparameters and its schedule, checked and complete.

The vocabulary is that of torch.optim: `{optimizer: adam, lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8,
weight_decay: 0, amsgrad: false, clip_norm: 1.0, no_decay: [bias, norm],
schedule: {kind: cosine, warmup: 0.05, final: 0.0}}`; beside it `batch_size` and `task_args`, which
change the task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sweeper.errors import SweepError, nearest, one_of, shown
from sweeper.optim import catalog, schedule_catalog
from sweeper.optim.hyperparameters import Length, Lengths, join, steps_of
from sweeper.optim.schedule import Schedule, parse_schedule
from sweeper.optim.variant import KEYS as VARIANT_KEYS
from sweeper.optim.variant import PLAIN, Variant, take_variant


class Program(NamedTuple):
    """What must be equal in a pack: it is compiled in.

    Args:
        rule: name of the update rule.
        no_decay: which parameters have no weight decay, sorted.
        variant: of the task.
    """

    rule: str
    no_decay: tuple[str, ...] = ()
    variant: Variant = PLAIN


@dataclass(frozen=True)
class Configuration:
    """One point of the search space, complete.

    Args:
        optimizer: its name.
        values: every hyperparameter of the optimizer.
        schedule: of the learning rate.
        clip_norm, clip_value: limits of the gradient; None for none, and at most one of them.
        no_decay: which parameters have no weight decay, sorted.
        variant: of the task: batch size, arguments.
    """

    optimizer: str
    values: dict[str, float | bool]
    schedule: Schedule
    clip_norm: float | None = None
    clip_value: float | None = None
    no_decay: tuple[str, ...] = ()
    variant: Variant = PLAIN

    @property
    def rule(self) -> str:
        """Name of the update rule (adam and adamw share one)."""
        return catalog.OPTIMIZERS[self.optimizer].rule

    @property
    def program(self) -> Program:
        """What must be equal in a pack."""
        return Program(self.rule, self.no_decay, self.variant)

    @property
    def is_decoupled(self) -> bool:
        """Whether weight decay is decoupled from the gradient."""
        always = catalog.OPTIMIZERS[self.optimizer].decoupled
        return always or bool(self.values.get("decoupled_weight_decay", False))

    def to_dict(self) -> dict[str, Any]:
        """The complete configuration in the user's vocabulary; `parse` reads it back."""
        values: dict[str, Any] = dict(self.values)
        betas = catalog.OPTIMIZERS[self.optimizer].betas
        if len(betas) == 2:
            pair = [values.pop(key) for key in betas]
            values = {"lr": values.pop("lr"), "betas": pair, **values}
        clipping = {name: getattr(self, name) for name in catalog.CLIPPING}
        values |= {name: value for name, value in clipping.items() if value is not None}
        if self.no_decay:
            values["no_decay"] = list(self.no_decay)
        values |= self.variant.to_dict()
        return {"optimizer": self.optimizer, **values, "schedule": self.schedule.to_dict()}


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """A complete configuration as dotted keys, each number by itself: betas are two of them."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key == "betas":
            names = catalog.OPTIMIZERS[config["optimizer"]].betas
            flat |= dict(zip(names, value, strict=True))
        elif isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": found for inner, found in _inner(value)}
        else:
            flat[key] = value
    return flat


def _inner(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What stands within a schedule; `{steps: N}` as a key of its own."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", found) for inner, found in value.items())
        else:
            yield key, value


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
    optimizer = catalog.optimizer(name, join(where, "optimizer"))
    for key in given:
        if not isinstance(key, str):
            raise SweepError(f"the key {shown(key)} is not text", where=where)
    schedule = parse_schedule(given.pop("schedule", "constant"), join(where, "schedule"))
    schedule = _with_momentum(schedule, optimizer, str(name), join(where, "schedule"))
    clipping = _clipping(given, where)
    no_decay = _patterns(given.pop("no_decay", ()), join(where, "no_decay"))
    variant = take_variant(given, where)
    _unfold_betas(given, str(name), where)
    for key in given:
        check_key(key, str(name), where)
    values = {
        key: kind.check(given.get(key, kind.default), join(where, key))
        for key, kind in optimizer.hyperparameters.items()
    }
    _check_nesterov(values, where)
    return Configuration(
        str(name), values, schedule, **clipping, no_decay=no_decay, variant=variant
    )


def check_key(key: str, name: str, where: str) -> None:
    """Refuse a hyperparameter that the optimizer doesn't have."""
    optimizer = catalog.OPTIMIZERS[name]
    if key not in optimizer.hyperparameters:
        words = {
            *optimizer.hyperparameters,
            *catalog.CLIPPING,
            "no_decay",
            "schedule",
            *VARIANT_KEYS,
        }
        words |= {"betas"} if len(optimizer.betas) == 2 else set()
        raise SweepError(
            f"{name} has no hyperparameter {key!r}",
            where=where,
            allowed=one_of(words),
            cure=nearest(key, words),
        )


def check_horizon(configuration: Configuration, horizon: int, where: str = "schedule") -> None:
    """Refuse a schedule that is longer than the run."""
    schedule = configuration.schedule
    kinds = schedule_catalog.SCHEDULES[schedule.kind]
    for name, kind in kinds.items():
        value = schedule.values[name]
        lengths = value if isinstance(value, tuple) else (value,)
        if not isinstance(kind, Length | Lengths):
            continue
        for length in lengths:
            assert isinstance(length, float | int)
            _check_length(name, steps_of(length, horizon), horizon, join(where, name))
    if "decay" in kinds:
        both = schedule.warmup_steps(horizon) + schedule.steps("decay", horizon)
        _check_length("warmup and decay", both, horizon, join(where, "decay"))


def _check_length(name: str, steps: int, horizon: int, where: str) -> None:
    if steps > horizon:
        raise SweepError(
            f"{name} of {shown(steps)} steps is longer than the horizon",
            where=where,
            allowed=f"at most {horizon} steps",
        )


def _with_momentum(
    schedule: Schedule, optimizer: catalog.Optimizer, name: str, where: str
) -> Schedule:
    """Settle whether a schedule cycles the momentum: by default where there is one."""
    if "cycle_momentum" not in schedule.values:
        return schedule
    wanted = schedule.values["cycle_momentum"]
    if wanted and optimizer.cycled is None:
        raise SweepError(
            f"{name} has no momentum that a schedule could cycle",
            where=join(where, "cycle_momentum"),
            allowed="false, or leave it out",
        )
    settled = optimizer.cycled is not None if wanted is None else wanted
    return Schedule(schedule.kind, {**schedule.values, "cycle_momentum": settled})


def _clipping(given: dict[str, Any], where: str) -> dict[str, float | None]:
    limits = {
        name: kind.check(given.pop(name, None), join(where, name))
        for name, kind in catalog.CLIPPING.items()
    }
    if None not in limits.values():
        raise SweepError(
            f"both {' and '.join(limits)} are given", where=where, cure="Leave one of them out."
        )
    return limits


def _patterns(raw: object, where: str) -> tuple[str, ...]:
    if not isinstance(raw, list | tuple) or not all(isinstance(o, str) and o for o in raw):
        raise SweepError(f"{shown(raw)}", where=where, allowed=f"a list of {catalog.NO_DECAY_DOC}")
    return tuple(sorted(set(raw)))


def _check_nesterov(values: Mapping[str, float | bool], where: str) -> None:
    if values.get("nesterov") and (not values["momentum"] or values["dampening"]):
        raise SweepError(
            f"nesterov with momentum {values['momentum']:g} and dampening {values['dampening']:g}",
            where=join(where, "nesterov"),
            allowed="momentum > 0 and dampening 0",
        )


def _unfold_betas(given: dict[str, Any], name: str, where: str) -> None:
    if "betas" not in given:
        return
    keys = catalog.OPTIMIZERS[name].betas
    if len(keys) != 2:
        check_key("betas", name, where)
    betas = given.pop("betas")
    if not isinstance(betas, list | tuple) or len(betas) != 2:
        raise SweepError(
            f"{shown(betas)} is not a pair",
            where=join(where, "betas"),
            allowed=f"[{', '.join(keys)}]",
        )
    for key, value in zip(keys, betas, strict=True):
        if key in given:
            raise SweepError(
                f"both betas and {key} are given", where=where, cure="Leave one of them out."
            )
        given[key] = value
