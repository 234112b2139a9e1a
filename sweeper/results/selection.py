"""Which trials of which sweeps are asked for: filtered and sorted, or named one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sweeper.errors import SweepError, nearest
from sweeper.results.filter import parse_filter
from sweeper.results.records import records, with_all_columns
from sweeper.results.sorting import Pair, parse_sort
from sweeper.results.source import Source

Chosen = tuple[Source, dict[str, Any]]
BASELINE, BEST, RECOMMENDED = "baseline", "best", "recommended"
_WORDS = (BASELINE, BEST, RECOMMENDED)
_FIRST = "the recommended trial, or the best"
_DEFAULT = (_FIRST, BASELINE)
_ALLOWED = f"numbers that `sweeper best` shows, {', '.join(_WORDS)}, and NAME:3 of one sweep"


def select(
    sources: Sequence[Source], by: str, condition: str | None, sort: str | None
) -> list[tuple[Source, list[dict[str, Any]]]]:
    """The ranking of every sweep, as far as it passes a filter, in the order asked for.

    A column that only another of the sweeps has counts as one without a value.

    Args:
        by: policy, which decides where `sort` is None or leaves trials equal.
        condition: see results.filter; None lets all pass.
        sort: see results.sorting.

    Raises:
        SweepError: unreadable filter or order, no such column, nothing to rank by.
    """
    passes = None if condition is None else parse_filter(condition)
    ordered = None if sort is None else parse_sort(sort)
    rankings = [source.ranking(by) for source in sources]
    flat = iter(
        with_all_columns([r for s, rows in zip(sources, rankings) for r in records(s.name, rows)])
    )
    found = []
    for source, rows in zip(sources, rankings):
        pairs: list[Pair] = [(row, next(flat)) for row in rows]
        pairs = [pair for pair in pairs if passes is None or passes(pair[1])]
        pairs = pairs if ordered is None else ordered(pairs)
        found.append((source, [row for row, _ in pairs]))
    return found


def pick(sources: Sequence[Source], words: str | None) -> list[Chosen]:
    """Trials by name, each once, in the order of the words and within one in that of the sweeps.

    Args:
        words: numbers, baseline, best (rank 1) or recommended, with commas between, of every
            sweep; `NAME:3` is of one. None is the recommended trial, or the best where none is,
            and the baselines, where there are any.

    Raises:
        SweepError: no such word, sweep or trial.
    """
    rankings = {source.name: source.ranking() for source in sources}
    found: list[Chosen] = []
    for word in _DEFAULT if words is None else _split(words):
        place, colon, what = word.rpartition(":")
        if colon and place not in rankings:
            raise SweepError(
                f"the sweep {place!r} is not among those named",
                where="--trials",
                allowed=", ".join(rankings),
                cure=nearest(place, rankings),
            )
        for source in sources:
            if not colon or source.name == place:
                rows = list(_named(source, rankings[source.name], what))
                if not rows and words is not None:
                    raise _missing(source, what)
                found += [(source, row) for row in rows if (source, row) not in found]
    return found


def _split(words: str) -> list[str]:
    return [word.strip() for word in words.split(",")]


def _named(source: Source, ranking: Sequence[dict[str, Any]], word: str) -> Iterator[Any]:
    if word == BEST or (word == _FIRST and source.recommended_trial is None):
        yield from ranking[:1]
    elif word == BASELINE:
        yield from (row for row in ranking if row["origin"] == "baseline")
    elif word in (RECOMMENDED, _FIRST):
        number = source.recommended_trial
        yield from (row for row in ranking if row["trial"] == number)
    elif word.isdecimal():
        yield from (row for row in ranking if row["trial"] == int(word))
    else:
        raise SweepError(
            f"{word!r} names no trial",
            where="--trials",
            allowed=_ALLOWED,
            cure=nearest(word, _WORDS),
        )


def _missing(source: Source, word: str) -> SweepError:
    said = {
        BEST: "has no trial with results yet",
        BASELINE: "has no baseline with results",
        RECOMMENDED: "has no recommended trial",
    }
    what = said.get(word, f"has no trial {word} with results")
    return SweepError(f"sweep {source.name!r} {what}", where="--trials", allowed=_ALLOWED)
