"""The section `batch_size`: what is measured, in the order of the page."""

from __future__ import annotations

from pathlib import Path

from reproductions.batch_size import cost, outcome, training
from reproductions.progress import Progress
from reproductions.scale import Scale

TITLE = "Large and small batches"
HEADINGS = (f"## {TITLE}", f"### {cost.TITLE}", f"### {outcome.TITLE}")
_INTRODUCTION = """Claims of the same lecture (Hung-yi Lee, ML 2022): a large batch costs hardly
more per update, a small one takes longer per epoch, and yet small batches train better, generalise
better and end in flatter minima. (The notes give two contradictory lines, "large batch: more time
to compute, fewer updates" and "large batch: less time, more updates"; the second is about the
small batch.)"""


def make(scale: Scale, progress: Progress, figures: Path) -> str:
    """Measure and write."""
    costs = cost.measure(scale, progress)
    courses = training.measure(scale, progress)
    outcome.draw(courses, figures)
    pieces = (cost.section(costs), outcome.section(courses, costs, scale.count(training.SEEDS)))
    return "\n\n".join([f"## {TITLE}", _INTRODUCTION, *pieces])
