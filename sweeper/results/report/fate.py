"""What became of a trial, and the mark that says so without colour."""

from __future__ import annotations

from dataclasses import dataclass

from sweeper.ranking.evidence import Row, is_feasible


@dataclass(frozen=True, slots=True)
class Fate:
    """A word for the legend, a sign for tables and a marker of matplotlib.

    Args:
        is_filled: whether the marker has a face that can carry a colour.
    """

    word: str
    sign: str
    marker: str
    is_filled: bool = True


PROVEN = Fate("held, in the stress test too", "●", "o")
HELD = Fate("held in the search", "○", "o")
FORECAST = Fate("forecast to break", "▽", "v")
STRESSED = Fate("broke in the stress test", "■", "s")
FAILED = Fate("failed in the search", "✕", "x", is_filled=False)
FATES = (PROVEN, HELD, FORECAST, STRESSED, FAILED)


def fate(row: Row) -> Fate:
    """What became of a ranked trial."""
    if row["failure_fraction"] > 0:
        return FAILED
    if row.get("stress_failure_fraction"):
        return STRESSED
    if not is_feasible(row):
        return FORECAST
    return PROVEN if "stress_runs" in row else HELD


def broke(row: Row) -> bool:
    """Whether a seed of the search or of the stress test failed."""
    return fate(row) in (FAILED, STRESSED)
