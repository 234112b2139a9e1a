"""Kinds of hyperparameters: what a value may be, and how it is said when it is something else.

`check` returns the value as it is kept; it raises SweepError with what is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.errors import SweepError, one_of, shown


@dataclass(frozen=True, slots=True)
class Real:
    """A real number in an interval."""

    default: float
    low: float
    high: float
    low_open: bool = False
    high_open: bool = False
    doc: str = ""

    def allowed(self) -> str:
        return f"a number in {self.interval()}"

    def interval(self) -> str:
        left, right = "(["[not self.low_open], ")]"[not self.high_open]
        return f"{left}{self.low:g}, {self.high:g}{right}"

    def check(self, value: object, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SweepError(
                f"{shown(value)} is not a number", where=where, allowed=self.allowed()
            )
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        low_ok = number > self.low if self.low_open else number >= self.low
        high_ok = number < self.high if self.high_open else number <= self.high
        if not (math.isfinite(number) and low_ok and high_ok):
            raise SweepError(
                f"{shown(value)} is out of range", where=where, allowed=self.allowed()
            )
        return number


@dataclass(frozen=True, slots=True)
class Limit:
    """A real number in an interval, or null for none."""

    real: Real
    default: None = None

    @property
    def doc(self) -> str:
        return self.real.doc

    def allowed(self) -> str:
        return f"{self.real.allowed()}, or null"

    def check(self, value: object, where: str) -> float | None:
        try:
            return None if value is None else self.real.check(value, where)
        except SweepError as error:
            raise SweepError(error.what, where=where, allowed=self.allowed()) from None


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    default: bool
    doc: str = ""

    def allowed(self) -> str:
        return "true, false"

    def check(self, value: object, where: str) -> bool:
        if not isinstance(value, bool):
            raise SweepError(f"{shown(value)} is not a flag", where=where, allowed=self.allowed())
        return value


@dataclass(frozen=True, slots=True)
class Switch:
    """True, false, or null for what suits the other settings."""

    default: None = None
    doc: str = ""

    def allowed(self) -> str:
        return "true, false, null"

    def check(self, value: object, where: str) -> bool | None:
        if not (value is None or isinstance(value, bool)):
            raise SweepError(f"{shown(value)} is not a flag", where=where, allowed=self.allowed())
        return value


@dataclass(frozen=True, slots=True)
class Word:
    """One of some words."""

    default: str
    words: tuple[str, ...]
    doc: str = ""

    def allowed(self) -> str:
        return one_of(self.words)

    def check(self, value: object, where: str) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise SweepError(f"{shown(value)}", where=where, allowed=self.allowed())
        return value


@dataclass(frozen=True, slots=True)
class Length:
    """A number of steps: a float is a fraction of the horizon, an int an absolute number.

    Written `0.25` or `{steps: 500}`.
    """

    default: float | int
    doc: str = ""
    shortest: int = 0  # steps

    def allowed(self) -> str:
        return "a fraction of the horizon in [0, 1], or {steps: N}"

    def check(self, value: object, where: str) -> float | int:
        if not isinstance(value, Mapping):
            return Real(0.0, 0.0, 1.0).check(value, where)
        steps = value.get("steps")
        if set(value) != {"steps"} or isinstance(steps, bool) or not isinstance(steps, int):
            raise SweepError(
                f"{shown(value)} is not a length", where=where, allowed=self.allowed()
            )
        if steps < self.shortest:
            raise SweepError(
                f"{shown(steps)} steps", where=where, allowed=f"{self.shortest} or more steps"
            )
        return steps


@dataclass(frozen=True, slots=True)
class Lengths:
    """Some lengths in ascending order, at most `most`."""

    default: tuple[float | int, ...]
    most: int
    doc: str = ""

    def allowed(self) -> str:
        return f"a list of 1 to {self.most} fractions of the horizon or {{steps: N}}"

    def check(self, value: object, where: str) -> tuple[float | int, ...]:
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= self.most:
            raise SweepError(f"{shown(value)}", where=where, allowed=self.allowed())
        one = Length(0.0)
        return tuple(one.check(given, f"{where}[{i}]") for i, given in enumerate(value))


Kind = Real | Limit | Flag | Switch | Word | Length | Lengths
Value = float | int | bool | str | None | tuple[float | int, ...]


def steps_of(length: float | int, horizon: int) -> int:
    """A length in steps of a run of `horizon` steps."""
    return length if isinstance(length, int) else round(length * horizon)


def written(value: Value, kind: Kind) -> object:
    """A value as a user writes it; `check` reads it back."""
    if isinstance(kind, Length) and isinstance(value, int):
        return {"steps": value}
    if isinstance(kind, Lengths):
        assert isinstance(value, tuple)
        return [written(one, Length(0.0)) for one in value]
    return value


def join(where: str, key: str) -> str:
    """A key below `where`, in dotted form."""
    return f"{where}.{key}" if where else key
