"""Orders of ranked trials in MLflow's syntax: `failure_fraction ASC, draw_up DESC`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sweeper.errors import SweepError
from sweeper.results.filter import COLUMN, Record, column

_PART = re.compile(COLUMN + r"(?:(asc|desc)\b)?\s*", re.IGNORECASE)
_CURE = "Such as: failure_fraction ASC, draw_up DESC"
Pair = tuple[Any, Record]
Order = Callable[[Sequence[Pair]], list[Pair]]


def parse_sort(text: str, where: str = "--sort") -> Order:
    """What puts pairs of anything and its record (sweeper.results.records) in order.

    ASC where nothing is said; what has no value comes last in both directions, as in MLflow, and
    equal ones stay as they were. Numbers come before text.

    Raises:
        SweepError: not such an order; or, by what is returned, a column that no record has.
    """
    parts: list[tuple[str, bool]] = []
    place = 0
    while True:
        found = _PART.match(text, place)
        if found is None:
            raise _unreadable(text, place, where)
        parts.append((found[2], (found[3] or "asc").lower() == "desc"))
        place = found.end()
        if place == len(text):
            break
        if text[place] != ",":
            raise _unreadable(text, place, where)
        place += 1

    def ordered(pairs: Sequence[Pair]) -> list[Pair]:
        found = list(pairs)
        for name, is_down in reversed(parts):  # sorting is stable: the first one counts most
            known = [one for one in found if column(one[1], name, where) is not None]
            missing = [one for one in found if one[1][name] is None]
            known.sort(key=lambda one: _key(one[1][name]), reverse=is_down)
            found = known + missing
        return found

    return ordered


def _key(value: Any) -> tuple[bool, float, str]:
    if isinstance(value, str | list):
        return True, 0.0, str(value)
    return False, float(value), ""


def _unreadable(text: str, place: int, where: str) -> SweepError:
    return SweepError(f"can't read {text[place:] or text!r}", where=where, cure=_CURE)
