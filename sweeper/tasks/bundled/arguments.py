"""Checks of the arguments of bundled tasks."""

from __future__ import annotations

from sweeper.errors import SweepError, one_of, shown


def check_int(name: str, value: object, low: int, high: int | None = None) -> int:
    """An int within its range; raises SweepError with the argument's name."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low or _above(value, high):
        allowed = f"an int from {low} to {high}" if high is not None else f"an int >= {low}"
        raise SweepError(shown(value), where=f"task_args.{name}", allowed=allowed)
    return value


def check_real(name: str, value: object, low: float, high: float) -> float:
    """A number within its range; raises SweepError with the argument's name."""
    # Nothing holds of nan.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise SweepError(
            shown(value), where=f"task_args.{name}", allowed=f"a number from {low:g} to {high:g}"
        )
    return float(value)


def check_word(name: str, value: object, words: tuple[str, ...]) -> str:
    """One of some words; raises SweepError with the argument's name."""
    if value not in words:
        raise SweepError(shown(value), where=f"task_args.{name}", allowed=one_of(words))
    return str(value)


def _above(value: int, high: int | None) -> bool:
    return high is not None and value > high
