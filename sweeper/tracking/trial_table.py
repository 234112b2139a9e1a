"""All trials as one CSV, where not each of them has a run in MLflow."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sweeper.optim.configuration import flatten
from sweeper.study.database import STRESS, Trial
from sweeper.study.identity import short_error

NAME = "trials.csv"
_FIRST = ("rank", "trial", "origin", "state")


def table(
    trials: Iterable[Trial],
    ranking: Sequence[Mapping[str, Any]] = (),
    marks: Mapping[int, str] = {},
) -> str:
    """The told trials of the search: by rank where there is one, then by number.

    Args:
        trials: of the sweep.
        ranking: as sweeper.study.standing gives it; empty while the sweep runs.
        marks: recommended, or why a trial is refused, by its number.
    """
    ranked = {row["trial"]: row for row in ranking}
    rows = [
        _row(trial, ranked.get(trial.number, {}), marks.get(trial.number))
        for trial in trials
        if trial.told is not None and trial.origin != STRESS
    ]
    rows.sort(key=lambda row: (row["rank"] is None, row["rank"], row["trial"]))
    found = dict.fromkeys(key for row in rows for key in row if key not in _FIRST)
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_FIRST, *found], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(trial: Trial, ranked: Mapping[str, Any], mark: str | None) -> dict[str, Any]:
    row = {
        "rank": ranked.get("rank"),
        "trial": trial.number,
        "origin": trial.origin,
        "state": trial.state,
        **dict(_plain(trial.result or {})),
        **{key: value for key, value in ranked.items() if key.startswith("stress_")},
        **{f"hp.{key}": value for key, value in flatten(trial.config).items()},
        "mark": mark,
    }
    return row | ({"error": short_error(trial.error)} if trial.error else {})


def _plain(result: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in result.items():
        if isinstance(value, dict):  # the objectives
            yield from ((f"objective.{name}", one) for name, one in value.items())
        else:
            yield key, value
