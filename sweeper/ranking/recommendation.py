"""Which setting is recommended, why tempting ones are refused, and what that costs in speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweeper.ranking.evidence import Row, is_feasible


def recommended(ranking: Sequence[dict[str, Any]], *, stressed: bool) -> dict[str, Any] | None:
    """The first trial of the `robust` ranking that held, None where none did.

    Args:
        stressed: whether trials were stress-tested: then what held on all of those seeds counts,
            else what held in the search.
    """
    held = (row for row in ranking if is_feasible(row))
    if stressed:
        held = (row for row in held if row.get("stress_failure_fraction") == 0)
    return next(held, None)


def refusal(row: Row, *, stress_horizon: int) -> str | None:
    """What broke, where and when, in words; None for a trial that held as far as it was tried.

    Args:
        stress_horizon: steps of a run of the stress test.
    """
    if row.get("stress_failure_fraction"):
        failed = round(row["stress_failure_fraction"] * row["stress_runs"])
        return (
            f"failed on {failed} of {row['stress_runs']} fresh seeds within {stress_horizon:,} "
            f"steps: {_what(row, 'stress_')}"
        )
    if row["failure_fraction"]:
        failed = round(row["failure_fraction"] * row["runs"])
        return f"failed on {failed} of {row['runs']} seeds of the search: {_what(row, '')}"
    forecast = row.get("forecast_step")
    if forecast is not None and row["violation"] > 0:
        return f"forecast to become unstable after {forecast:,} steps"
    return None


def proof(row: Row, *, steps: int, stress_steps: int) -> str:
    """How far a trial held and with which tail loss, in words.

    Args:
        steps, stress_steps: of a run of the search, and of the stress test.
    """
    is_tested = "stress_runs" in row
    count, length = (row["stress_runs"], stress_steps) if is_tested else (row["runs"], steps)
    tail = row["stress_tail_loss" if is_tested else "tail_loss"]
    kind, end = ("fresh ", "") if is_tested else ("", " (no stress test)")
    seeds = f"{count} {kind}seed{'' if count == 1 else 's'}"
    return f"held on {seeds} for {length:,} steps{end}; tail loss {tail:.2g} at worst"


def tempting(
    rankings: Mapping[str, Sequence[Row]],
    *,
    stress_horizon: int | Callable[[Row], int],
    most: int = 8,
) -> list[dict[str, Any]]:
    """Trials that other policies put first and that are refused, the most tempting first.

    Args:
        rankings: by policy.
        stress_horizon: steps of a run of the stress test, or gives them for a trial.
        most: number of trials.

    Returns:
        The rows, each with `reason` and with `by`: the policies that have it among their first
        five, and `baseline`, which comes last where nobody else has it.
    """
    by: dict[int, list[str]] = {}
    rows: dict[int, Row] = {}
    places: dict[int, int] = {}
    for policy, ranking in rankings.items():
        for place, row in enumerate(ranking):
            is_baseline = row["origin"] == "baseline"
            if place >= 5 and not is_baseline:
                continue
            number = row["trial"]
            rows[number] = row
            said = by.setdefault(number, ["baseline"] if is_baseline else [])
            if place < 5:
                said.append(policy)
            places[number] = min(place, places.get(number, place))
    found = []
    for number in sorted(rows, key=lambda number: (places[number], -len(by[number]), number)):
        row = rows[number]
        steps = stress_horizon(row) if callable(stress_horizon) else stress_horizon
        reason = refusal(row, stress_horizon=steps)
        if reason is not None:
            found.append({**row, "reason": reason, "by": by[number]})
    return found[:most]


def _what(row: Row, prefix: str) -> str:
    """What a failure looked like."""
    onset = row[f"{prefix}onset_step"]
    since = "" if onset is None else f" from step {onset:,}"
    if row[f"{prefix}tail_loss"] is None:
        return f"it diverged{since}"
    if row[f"{prefix}draw_up"] >= 1:
        return f"it climbed {row[f'{prefix}draw_up']:.1f} decades{since}"
    return f"it gave back its progress{since}"
