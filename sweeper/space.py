"""The search space: constants, ranges and choices in one vocabulary; a choice opens a sub-space.

    optimizer: adam
    lr: {log_uniform: [1e-5, 1e-1]}
    beta2: {one_minus_log_uniform: [1e-4, 0.2]}      # 1 - beta2 is log-uniform
    schedule: {choice: {constant: {}, cosine: {final: {log_uniform: [1e-3, 1.0]}}}}

A parameter that only some branch has is named after it: `schedule.cosine.final`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import SweepError, nearest, one_of, shown
from sweeper.optim import catalog, schedule_catalog
from sweeper.optim.configuration import parse
from sweeper.optim.hyperparameters import Real, join
from sweeper.optim.schedule import parse_schedule

RANGES = ("uniform", "log_uniform", "one_minus_log_uniform")
_WORDS = (*RANGES, "choice")
# Choosing one of these opens the sub-space of the chosen branch.
_BRANCHING = ("optimizer", "schedule")


@dataclass(frozen=True, slots=True)
class Range:
    """A real parameter; `low` and `high` bound the value that is drawn.

    For `one_minus_log_uniform` what is drawn, log-uniformly, is 1 - value.
    """

    name: str
    kind: str
    low: float
    high: float

    @property
    def is_log(self) -> bool:
        return self.kind != "uniform"

    def value(self, drawn: float) -> float:
        """The hyperparameter for what was drawn."""
        return 1.0 - drawn if self.kind == "one_minus_log_uniform" else drawn

    def ends(self) -> tuple[float, float]:
        """The hyperparameter at both ends of the range."""
        return self.value(self.low), self.value(self.high)


@dataclass(frozen=True, slots=True)
class Choice:
    """A categorical parameter; `labels` are what is drawn, primitive and unique.

    Args:
        options: value of each label.
        branches: sub-space of each label, where the choice opens one.
    """

    name: str
    labels: tuple[str | float | int | bool | None, ...]
    options: tuple[Any, ...]
    branches: tuple[Space, ...] = ()


Parameter = Range | Choice
Draw = Callable[[Parameter], Any]
"""Draws a parameter: the number of a Range, the label of a Choice."""


@dataclass(frozen=True, slots=True)
class Space:
    """Constants and parameters by key; the key `schedule` holds a sub-space of its own."""

    constants: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    nested: Mapping[str, Space] = field(default_factory=dict)

    def given(self) -> set[str]:
        """Every key of this level."""
        return {*self.constants, *self.parameters, *self.nested}

    def configuration(self, draw: Draw) -> dict[str, Any]:
        """Draw every parameter in order and put the configuration together."""
        values = dict(self.constants)
        for key, parameter in self.parameters.items():
            drawn = draw(parameter)
            if isinstance(parameter, Range):
                values[key] = parameter.value(drawn)
                continue
            index = parameter.labels.index(drawn)
            values[key] = parameter.options[index]
            if parameter.branches:
                inner = parameter.branches[index].configuration(draw)
                values |= inner if key == "optimizer" else {key: {"kind": drawn, **inner}}
        for key, space in self.nested.items():
            values[key] = space.configuration(draw)
        return values

    def shared(self) -> Iterator[Parameter]:
        """The parameters that every configuration has: not those of branches."""
        yield from self.parameters.values()
        for space in self.nested.values():
            yield from space.shared()

    def flat(self) -> Iterator[Parameter]:
        """Every parameter there is, those of all branches included, each once."""
        for parameter in self.parameters.values():
            yield parameter
            if isinstance(parameter, Choice):
                for branch in parameter.branches:
                    yield from branch.flat()
        for space in self.nested.values():
            yield from space.flat()


def parse_space(raw: object, where: str = "space") -> Space:
    """Check a search space and return it.

    Raises:
        SweepError: an unknown word, an empty or reversed range, a bound outside what the
            hyperparameter allows, a parameter that the optimizer or schedule doesn't have.
    """
    if not isinstance(raw, Mapping) or not raw:
        raise SweepError(
            f"{shown(raw)} is not a space", where=where, allowed="a mapping of hyperparameters"
        )
    space = _parse(raw, where, prefix="")
    _check_given_once(space, where)
    for configuration in corners(space):
        parse(configuration, where)
    return space


def corners(space: Space) -> Iterator[dict[str, Any]]:
    """Configurations that have each end of every range and each option of every choice once.

    What a hyperparameter may be depends on the branches alone: these find whatever is not allowed.
    """
    yield space.configuration(lambda parameter: _extremes(parameter)[0])
    for parameter in space.flat():
        for end in _extremes(parameter):
            yield space.configuration(_forced(parameter, end))


def _parse(raw: Mapping[Any, Any], where: str, *, prefix: str) -> Space:
    constants: dict[str, Any] = {}
    parameters: dict[str, Parameter] = {}
    nested: dict[str, Space] = {}
    for key, value in raw.items():
        if not isinstance(key, str):
            raise SweepError(f"{shown(key)} is not a name", where=where, allowed="words as keys")
        here, name = join(where, key), prefix + key
        word = _word(value)
        if word == "choice":
            parameters[key] = _choice(key, name, value["choice"], here)
        elif word:
            parameters[key] = _range(name, word, value[word], here)
        elif key == "schedule" and isinstance(value, Mapping) and "kind" in value:
            schedule_catalog.schedule(value["kind"], here)
            nested[key] = _parse(value, here, prefix=f"{name}.{value['kind']}.")
        elif isinstance(value, Mapping) and set(value) != {"steps"}:
            _refuse_mapping(value, here)
        else:
            constants[key] = value
    return Space(constants, parameters, nested)


def _word(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return None
    words = [word for word in _WORDS if word in value]
    return words[0] if len(words) == 1 and len(value) == 1 else None


def _refuse_mapping(value: Mapping[Any, Any], where: str) -> None:
    first = next(iter(value), "")
    raise SweepError(
        f"{shown(value)} is neither a value nor a range",
        where=where,
        allowed=f"a value, or {{word: ...}} with one of {one_of(_WORDS)}",
        cure=nearest(first, _WORDS),
    )


def _range(name: str, kind: str, bounds: object, where: str) -> Range:
    here = join(where, kind)
    if not isinstance(bounds, list | tuple) or len(bounds) != 2:
        raise SweepError(f"{shown(bounds)} is not a range", where=here, allowed="[low, high]")
    low, high = (_number(bound, here) for bound in bounds)
    if not low < high:
        raise SweepError(f"[{low:g}, {high:g}] is empty", where=here, allowed="low < high")
    if kind != "uniform" and low <= 0:
        raise SweepError(f"low is {low:g}", where=here, allowed="low > 0 for a logarithmic range")
    return Range(name, kind, low, high)


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SweepError(
            f"{shown(value)} is not a number", where=where, allowed="numbers such as 1e-3"
        )
    return Real(0.0, -1e300, 1e300).check(value, where)


def _choice(key: str, name: str, raw: object, where: str) -> Choice:
    here = join(where, "choice")
    if isinstance(raw, Mapping) and key in _BRANCHING and raw:
        labels = tuple(str(label) for label in raw)
        branches = tuple(_branch(key, name, str(label), sub, here) for label, sub in raw.items())
        return Choice(name, labels, labels, branches)
    if not isinstance(raw, list | tuple) or not raw:
        allowed = "a list of values, not empty"
        if key in _BRANCHING:
            allowed += ", or a mapping of branches such as {constant: {}, cosine: {}}"
        raise SweepError(f"{shown(raw)} is not a choice", where=here, allowed=allowed)
    labels_of = tuple(_label(option) for option in raw)
    if len(set(labels_of)) != len(labels_of):  # 1, 1.0 and true are one
        raise SweepError(
            f"{shown(raw)} names an option twice", where=here, allowed="distinct options"
        )
    return Choice(name, labels_of, tuple(raw))


def _branch(key: str, name: str, label: str, raw: object, where: str) -> Space:
    here = join(where, label)
    check = catalog.optimizer if key == "optimizer" else schedule_catalog.schedule
    check(label, where)
    if raw is not None and not isinstance(raw, Mapping):
        raise SweepError(
            f"{shown(raw)} is not a sub-space", where=here, allowed="a mapping, or {}"
        )
    space = _parse(raw or {}, here, prefix=f"{name}.{label}.")
    own = "optimizer" if key == "optimizer" else "kind"
    if own in space.given():
        raise SweepError(
            f"{key} {label!r} has a branch with another {own}",
            where=join(here, own),
            cure="Leave it out.",
        )
    for values in corners(space):  # checked here already, where the path of the keys is known
        if key == "optimizer":
            parse({"optimizer": label, **values}, here)
        else:
            parse_schedule({"kind": label, **values}, here)
    return space


def _label(option: object) -> str | float | int | bool | None:
    if option is None or isinstance(option, str | float | int | bool):
        return option
    return json.dumps(option, default=str)


def _check_given_once(space: Space, where: str) -> None:
    """Refuse a hyperparameter that is given both beside a choice of optimizers and in a branch."""
    chosen = space.parameters.get("optimizer")
    if not isinstance(chosen, Choice):
        return
    for label, branch in zip(chosen.labels, chosen.branches, strict=False):
        for key in sorted(branch.given() & space.given()):
            raise SweepError(
                f"{key} is given twice: also in optimizer {label!r}",
                where=join(where, key),
                cure="Leave one of them out.",
            )


def _extremes(parameter: Parameter) -> tuple[Any, ...]:
    """The least and the most that can be drawn, or every label."""
    if isinstance(parameter, Range):
        return parameter.low, parameter.high
    return parameter.labels


def _forced(forced: Parameter, value: Any) -> Draw:
    """Draws `value` for one parameter, the branches that lead to it, and else the first end."""

    def draw(parameter: Parameter) -> Any:
        if parameter is forced:
            return value
        return next(_leading_to(forced, parameter), _extremes(parameter)[0])

    return draw


def _leading_to(forced: Parameter, parameter: Parameter) -> Iterator[Any]:
    """The label of `parameter` whose branch holds `forced`."""
    if isinstance(parameter, Choice):
        for label, branch in zip(parameter.labels, parameter.branches, strict=False):
            if any(inner is forced for inner in branch.flat()):
                yield label
