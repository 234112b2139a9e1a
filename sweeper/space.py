"""The search space: constants, ranges and choices in one vocabulary; a choice opens a sub-space.

    optimizer: adam
    lr: {log_uniform: [1e-5, 1e-1]}
    beta2: {one_minus_log_uniform: [1e-4, 0.2]}      # 1 - beta2 is log-uniform
    schedule: {choice: {constant: {}, cosine: {final: {log_uniform: [1e-3, 1.0]}}}}
    batch_size: {choice: [16, 64, 256]}              # as task_args.*: a choice, never a range
    task_args: {hidden: {choice: [32, 64]}}

A parameter that only some branch has is named after it: `schedule.cosine.final`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, product
from typing import Any

from sweeper.optim.configuration import Program, parse

RANGES = ("uniform", "log_uniform", "one_minus_log_uniform")
# What decides the program of a run.
_OF_PROGRAM = ("optimizer", "no_decay", "batch_size", "task_args")
# Programs that are looked at, at most.
_MOST_PROGRAMS = 1000


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
    """Constants and parameters by key; `schedule` and `task_args` hold sub-spaces of their own."""

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


def corners(space: Space) -> Iterator[dict[str, Any]]:
    """Configurations that have each end of every range and each option of every choice once.

    What a hyperparameter may be depends on the branches alone: these find whatever is not allowed.
    """
    yield space.configuration(lambda parameter: _extremes(parameter)[0])
    for parameter in space.flat():
        for end in _extremes(parameter):
            yield space.configuration(_forced(parameter, end))


def with_constant(space: Space, key: str, value: Any) -> Space:
    """The space with a value for a key that it doesn't have itself."""
    if key in space.given():
        return space
    return replace(space, constants={**space.constants, key: value})


def programs(space: Space) -> list[tuple[Program, dict[str, Any]]]:
    """The programs of a space, each with a configuration that has it, as far as 1,000 draws tell.

    Every combination of the optimizers, batch sizes and arguments of the task is one.
    """
    chosen = [p for p in space.shared() if p.name.partition(".")[0] in _OF_PROGRAM]
    options = product(*([(p.name, one) for one in _extremes(p)] for p in chosen))
    found: dict[Program, dict[str, Any]] = {}
    for values in islice(options, _MOST_PROGRAMS):
        configuration = space.configuration(_drawn(dict(values)))
        found.setdefault(parse(configuration).program, configuration)
    for configuration in corners(space):  # those of branches
        found.setdefault(parse(configuration).program, configuration)
    return list(found.items())


def _drawn(values: Mapping[str, Any]) -> Draw:
    """Draws these values by name, and else the first end."""
    return lambda parameter: values.get(parameter.name, _extremes(parameter)[0])


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
