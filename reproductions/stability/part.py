"""The section `stability`: every piece measured, drawn and written, in the order of the page."""

from __future__ import annotations

from pathlib import Path

from reproductions.progress import Progress
from reproductions.scale import Scale
from reproductions.stability import (
    cause,
    mini_batches,
    optimizer_tables,
    optimizers,
    ranking,
    safe_eps,
    untuned,
)

TITLE = "Training that runs long"
PIECES = (optimizers, safe_eps, cause, ranking, mini_batches, untuned)
HEADINGS = (f"## {TITLE}", *(f"### {piece.TITLE}" for piece in PIECES))
_INTRODUCTION = """The perceptron of "Strange behavior with Adam optimizer when training for too
long" (Data Science Stack Exchange 25024) reaches a loss of 1e-12 and climbs back to 1e-3. Which
settings do that, why, whether it can be foreseen, and whether a ranking avoids it."""


def optimizer_table(
    found: list[list[optimizers.Finding]], scale: Scale, progress: Progress
) -> str:
    """The first piece, with a second look at its worst forecast."""
    worst = optimizers.worst(found)
    near = None if worst is None else optimizers.near_threshold(worst, scale, progress)
    return optimizer_tables.section(found, near)


def section(scale: Scale, progress: Progress, figures: Path) -> str:
    """Measure everything, save the figures, return the text."""
    table = optimizer_table(optimizers.measure(scale, progress), scale, progress)
    pairs = safe_eps.measure(scale, progress)
    courses = cause.measure(scale, progress)
    cause.draw(courses, figures)
    picks = ranking.measure(scale, progress)
    ranking.draw(picks, figures)
    grids = mini_batches.measure(scale, progress)
    mini_batches.draw(grids, figures)
    trials = untuned.measure(scale, progress)
    untuned.draw(trials, figures)
    pieces = (
        table,
        safe_eps.section(pairs),
        cause.section(courses, pairs[0].eps),
        ranking.section(picks),
        mini_batches.section(grids),
        untuned.section(trials),
    )
    return "\n\n".join([f"## {TITLE}", _INTRODUCTION, *pieces])
