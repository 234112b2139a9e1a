"""Reading a search space: what is wrong in it is said with its key, before anything is drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sweeper.errors import SweepError, nearest, one_of, shown
from sweeper.optim import catalog, schedule_catalog
from sweeper.optim.configuration import parse
from sweeper.optim.hyperparameters import Real, join
from sweeper.optim.schedule import parse_schedule
from sweeper.space import RANGES, Choice, Parameter, Range, Space, corners

_WORDS = (*RANGES, "choice")
# Choosing one of these opens the sub-space of the chosen branch.
_BRANCHING = ("optimizer", "schedule")


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


def _parse(raw: Mapping[Any, Any], where: str, *, prefix: str) -> Space:
    constants: dict[str, Any] = {}
    parameters: dict[str, Parameter] = {}
    nested: dict[str, Space] = {}
    for key, value in raw.items():
        if not isinstance(key, str):
            raise SweepError(f"{shown(key)} is not a name", where=where, allowed="words as keys")
        here, name = join(where, key), prefix + key
        word = _word(value)
        if key == "batch_size" and word in RANGES:
            raise _unbounded(key, here)
        if word == "choice":
            parameters[key] = _choice(key, name, value["choice"], here)
        elif word:
            parameters[key] = _range(name, word, value[word], here)
        elif key == "schedule" and isinstance(value, Mapping) and "kind" in value:
            schedule_catalog.schedule(value["kind"], here)
            nested[key] = _parse(value, here, prefix=f"{name}.{value['kind']}.")
        elif key == "task_args" and isinstance(value, Mapping):
            nested[key] = _arguments(value, here, prefix=f"{name}.")
        elif isinstance(value, Mapping) and set(value) != {"steps"}:
            _refuse_mapping(value, here)
        else:
            constants[key] = value
    return Space(constants, parameters, nested)


def _arguments(raw: Mapping[Any, Any], where: str, *, prefix: str) -> Space:
    """The arguments of the task: their names mean nothing here, and their values are few."""
    constants: dict[str, Any] = {}
    parameters: dict[str, Parameter] = {}
    for key, value in raw.items():
        if not isinstance(key, str):
            raise SweepError(f"{shown(key)} is not a name", where=where, allowed="words as keys")
        here, word = join(where, key), _word(value)
        if word == "choice":
            parameters[key] = _choice("", prefix + key, value["choice"], here)
        elif word:
            raise _unbounded(key, here)
        else:
            constants[key] = value
    return Space(constants, parameters)


def _unbounded(key: str, where: str) -> SweepError:
    return SweepError(
        f"{key} has a range, and each of its values is a program of its own",
        where=where,
        allowed="{choice: [...]} of a few values",
    )


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
