"""Section: the Pareto front of a search with several objectives."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from matplotlib.figure import Figure

from sweeper.ranking.evidence import Row
from sweeper.ranking.objectives import objective_value
from sweeper.results.report import style
from sweeper.results.report.facts import Facts
from sweeper.results.report.fate import fate
from sweeper.results.report.section import Section

_CAPTION = (
    "The first two objectives of every trial that has both. The line joins the front: trials that "
    "hold and that nothing which holds beats in every objective."
)


def section(facts: Facts) -> Section | None:
    """The front; None with one objective, or where no trial has values."""
    if len(facts.spec.objectives) < 2:
        return None
    points = [(row, point) for row in facts.ranking if (point := _point(facts, row)) is not None]
    if not points:
        return None
    return Section("front", "Pareto front", "", {"front": (_figure(facts, points), _CAPTION)})


def _point(facts: Facts, row: Row) -> tuple[float, float] | None:
    first, second = (objective_value(row, one) for one in facts.spec.objectives[:2])
    if first is None or second is None or not (isfinite(first) and isfinite(second)):
        return None
    return first, second


def _figure(facts: Facts, points: Sequence[tuple[Row, tuple[float, float]]]) -> Figure:
    figure, (ax,) = style.new_figure(1, 1, (7.6, 4.0))
    for row, point in points:
        is_on = bool(row.get("pareto"))
        ax.scatter(
            *point,
            marker=fate(row).marker,
            s=44 if is_on else 22,
            color=style.BLUE if is_on else style.GREY,
            zorder=3 if is_on else 2,
        )
        if is_on:
            beside: Any = {"xytext": (5, 5), "textcoords": "offset points"}
            ax.annotate(str(row["trial"]), point, fontsize=7.5, **beside)
    front = sorted(point for row, point in points if row.get("pareto"))
    if front:
        ax.plot(*zip(*front, strict=True), color=style.BLUE, lw=1.2, label="front")
        ax.legend()
    names = [f"{one.name} ({one.direction})" for one in facts.spec.objectives[:2]]
    ax.set_xlabel(style.plain(names[0]))
    ax.set_ylabel(style.plain(names[1]))
    return figure
