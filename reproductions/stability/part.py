"""The section `stability`: every piece measured, drawn and written, in the order of the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reproductions.progress import Progress
from reproductions.scale import Scale
from reproductions.stability import (
    cause,
    mini_batches,
    optimizer_tables,
    optimizers,
    ranking,
    ranking_tables,
    safe_eps,
    untuned,
)

TITLE = "Training that runs long"
PIECES = (optimizers, safe_eps, cause, ranking, mini_batches, untuned)
HEADINGS = (f"## {TITLE}", *(f"### {piece.TITLE}" for piece in PIECES))
_INTRODUCTION = """The perceptron of "Strange behavior with Adam optimizer when training for too
long" (Data Science Stack Exchange 25024) reaches a loss of 1e-12 and climbs back to 1e-3. Which
settings do that, why, whether it can be foreseen, and whether a ranking avoids it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that the section tells of.

    Args:
        near: when the run whose forecast erred most really came near its threshold.
    """

    findings: list[list[optimizers.Finding]]
    near: int | None
    pairs: list[safe_eps.Pair]
    courses: dict[str, cause.Course]
    picks: list[ranking.Pick]
    grids: list[mini_batches.Grid]
    trials: list[untuned.Trial]


def measure(scale: Scale, progress: Progress) -> Measured:
    """All runs, in the order of the page."""
    findings = optimizers.measure(scale, progress)
    worst = optimizers.worst(findings)
    return Measured(
        findings,
        None if worst is None else optimizers.near_threshold(worst, scale, progress),
        safe_eps.measure(scale, progress),
        cause.measure(scale, progress),
        ranking.measure(scale, progress),
        mini_batches.measure(scale, progress),
        untuned.measure(scale, progress),
    )


def section(found: Measured, figures: Path) -> str:
    """The text; the figures are saved."""
    cause.draw(found.courses, figures)
    ranking_tables.draw(found.picks, figures)
    mini_batches.draw(found.grids, figures)
    untuned.draw(found.trials, figures)
    pieces = (
        optimizer_tables.section(found.findings, found.near),
        safe_eps.section(found.pairs),
        cause.section(found.courses, found.pairs[0].eps),
        ranking_tables.section(found.picks),
        mini_batches.section(found.grids),
        untuned.section(found.trials),
    )
    return "\n\n".join([f"## {TITLE}", _INTRODUCTION, *pieces])


def make(scale: Scale, progress: Progress, figures: Path) -> str:
    """Measure and write."""
    return section(measure(scale, progress), figures)
