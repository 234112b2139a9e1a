"""Filters of ranked trials in MLflow's comparison syntax: `failure_fraction = 0 and lr < 1e-3`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from sweeper.errors import SweepError, nearest

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
# A column as MLflow names it, with or without its prefix and quotes: the second group.
COLUMN = r"\s*(?:metrics\.|params\.|hp\.)*([`\"]?)([\w.]+)\1\s*"
_CLAUSE = re.compile(
    COLUMN + r"(<=|>=|!=|=|<|>)\s*" + r"('[^']*'|\"[^\"]*\"|[^\s'\"<>=!]+)\s*",
)
_AND = re.compile(r"and\b", re.IGNORECASE)
_CURE = "Such as: failure_fraction = 0 and draw_up < 3 and schedule.kind = 'cosine'"

Record = Mapping[str, Any]
Filter = Callable[[Record], bool]


def parse_filter(text: str, where: str = "--filter") -> Filter:
    """What says whether a record (sweeper.results.records) passes all comparisons.

    A value that is missing passes none. MLflow's prefixes `metrics.` and `params.` may be there.

    Raises:
        SweepError: not such a filter; or, by the filter, a column that the record doesn't have.
    """
    clauses = []
    place = 0
    while True:
        found = _CLAUSE.match(text, place)
        if found is None:
            raise SweepError(f"can't read {text[place:] or text!r}", where=where, cure=_CURE)
        clauses.append((found[2], _COMPARISONS[found[3]], _value(found[4])))
        place = found.end()
        if place == len(text):
            break
        joined = _AND.match(text, place)
        if joined is None:
            raise SweepError(
                f"can't read {text[place:]!r}", where=where, allowed="and", cure=_CURE
            )
        place = joined.end()

    def passes(record: Record) -> bool:
        return all(_holds(record, *clause, where) for clause in clauses)

    return passes


def _holds(
    record: Record, name: str, compare: Callable[[Any, Any], bool], value: Any, where: str
) -> bool:
    known = column(record, name, where)
    if known is None:
        return False
    if isinstance(value, str) or isinstance(known, str | list):
        is_same = str(known).lower() == str(value).lower()
        if compare is operator.eq or compare is operator.ne:
            return is_same if compare is operator.eq else not is_same
        raise SweepError(f"{name} is no number", where=where, allowed="=, !=")
    return bool(compare(float(known), value))


def column(record: Record, name: str, where: str) -> Any:
    """The value of a record; raises SweepError where it has no such column."""
    if name not in record:
        cure = nearest(name, record)
        raise SweepError(f"no column {name!r}", where=where, allowed=", ".join(record), cure=cure)
    return record[name]


def _value(text: str) -> Any:
    """A number, or text with or without quotes; true and false are those of settings."""
    if text[0] in "'\"":
        return text[1:-1]
    if text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    try:
        return float(text)
    except ValueError:
        return text
