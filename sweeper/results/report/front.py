"""Section: the Pareto front of a search with several objectives."""

from __future__ import annotations

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
    rows = [row for row in facts.ranking if None not in _values(facts, row)]
    if not rows:
        return None
    return Section("front", "Pareto front", "", {"front": (_figure(facts, rows), _CAPTION)})


def _values(facts: Facts, row: Row) -> tuple[float | None, float | None]:
    first, second = facts.spec.objectives[:2]
    return objective_value(row, first), objective_value(row, second)


def _figure(facts: Facts, rows: list[Row]) -> Figure:
    figure, (ax,) = style.new_figure(1, 1, (7.6, 4.0))
    for row in rows:
        kind, is_on = fate(row), bool(row.get("pareto"))
        colour = style.BLUE if is_on else style.GREY
        ax.scatter(
            *_values(facts, row),
            marker=kind.marker,
            s=44 if is_on else 22,
            color=colour,
            zorder=3 if is_on else 2,
        )
    front = sorted(_values(facts, row) for row in rows if row.get("pareto"))  # type: ignore[type-var]
    if front:
        ax.plot(*zip(*front, strict=True), color=style.BLUE, lw=1.2, label="front")
        ax.legend()
    for row in rows:
        if row.get("pareto"):
            ax.annotate(
                str(row["trial"]),
                _values(facts, row),  # type: ignore[arg-type]
                xytext=(5, 5),
                textcoords="offset points",
                fontsize=7.5,
            )
    names = [f"{one.name} ({one.direction})" for one in facts.spec.objectives[:2]]
    ax.set_xlabel(style.plain(names[0]))
    ax.set_ylabel(style.plain(names[1]))
    return figure
