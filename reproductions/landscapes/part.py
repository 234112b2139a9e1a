"""The section `landscapes`: surfaces of two parameters, in the order of the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reproductions.landscapes import (
    constant_lr,
    escape,
    flat_minima,
    optimizers,
    running_mean,
    slips,
)
from reproductions.progress import Progress
from reproductions.scale import Scale

TITLE = "Optimizers on surfaces that can be drawn"
PIECES = (constant_lr, running_mean, optimizers, slips, escape, flat_minima)
HEADINGS = (f"## {TITLE}", *(f"### {piece.TITLE}" for piece in PIECES))
_INTRODUCTION = """What lectures draw, as runs: Hung-yi Lee's "What to do if my network fails to
train" (ML 2022, in notes of a student), the animation in the accepted answer to the question
above, and the claims of "Adaptive Inertia" (Xie et al. 2022) on saddles and flat minima. The
tasks are `valley` and `saddle`; all in float64 but the two minima."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that the section tells of."""

    descents: list[constant_lr.Descent]
    courses: list[running_mean.Course]
    walks: optimizers.Walks
    slips: slips.Slips
    escapes: list[escape.Escapes]
    shares: list[flat_minima.Shares]


def measure(scale: Scale, progress: Progress) -> Measured:
    """All runs, in the order of the page."""
    return Measured(
        constant_lr.measure(scale, progress),
        running_mean.measure(scale, progress),
        optimizers.measure(scale, progress),
        slips.measure(scale, progress),
        escape.measure(scale, progress),
        flat_minima.measure(scale, progress),
    )


def section(found: Measured, figures: Path) -> str:
    """The text; the figures are saved."""
    running_mean.draw(found.courses, figures)
    optimizers.draw(found.walks, figures)
    pieces = (
        constant_lr.section(found.descents),
        running_mean.section(found.courses),
        optimizers.section(found.walks),
        slips.section(found.slips),
        escape.section(found.escapes),
        flat_minima.section(found.shares),
    )
    return "\n\n".join([f"## {TITLE}", _INTRODUCTION, *pieces])


def make(scale: Scale, progress: Progress, figures: Path) -> str:
    """Measure and write."""
    return section(measure(scale, progress), figures)
