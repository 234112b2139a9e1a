"""Section: how far the seeds of a setting lie apart, in the search and in the stress test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeper.ranking.evidence import Row
from sweeper.ranking.objective import costs
from sweeper.results.report import style
from sweeper.results.report.facts import Facts
from sweeper.results.report.section import Section

_MOST = 12
_CAPTION = (
    "Tail loss of every seed of the first trials of the ranking and of the baselines: the mean of "
    "the worst tenth of the last 20 % of a run. What diverged is drawn at its first loss."
)


def section(facts: Facts) -> Section | None:
    """A line per setting; None where no trial has ended."""
    rows = list(facts.ranking[:_MOST])
    rows += [row for row in facts.baselines[:3] if row not in rows]
    if not rows:
        return None
    return Section("seeds", "Spread over seeds", "", {"seeds": (_figure(facts, rows), _CAPTION)})


def _figure(facts: Facts, rows: Sequence[Row]) -> Figure:
    figure, (ax,) = style.new_figure(1, 1, (7.6, 1.4 + 0.26 * len(rows)))
    is_log = not facts.has_negative
    for place, row in enumerate(rows):
        number = row["trial"]
        groups = [(number, -0.14, "o", "white", style.BLUE)]
        if number in facts.tested:
            groups.append((facts.tested[number], 0.14, "D", style.GREEN, style.GREEN))
        for trial, by, marker, face, edge in groups:
            results = [one.result for one in facts.runs[trial] if one.result is not None]
            _line(ax, results, place + by, marker, face, edge, is_log=is_log)
    names = [_name(facts, row) for row in rows]
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("log10 tail loss" if is_log else "tail loss")
    figure.legend(handles=_legend(facts), loc="outside upper left", ncols=3, handletextpad=0.1)
    return figure


def _line(
    ax: Any,
    results: Sequence[Mapping[str, Any]],
    place: float,
    marker: str,
    face: str,
    edge: str,
    *,
    is_log: bool,
) -> None:
    """The seeds of one setting, and from the best to the worst of them."""
    if not results:
        return
    values = np.array(costs(results, is_log=is_log))
    values = np.clip(values, None, _worst(results, is_log=is_log))
    failed = np.array([bool(result["failed"]) for result in results])
    ax.plot([values.min(), values.max()], [place, place], color=edge, lw=1.0, alpha=0.6, zorder=2)
    held = values[~failed]
    ax.scatter(
        held, np.full(len(held), place), marker=marker, s=24, fc=face, ec=edge, lw=1.0, zorder=3
    )
    broke = values[failed]
    ax.scatter(
        broke, np.full(len(broke), place), marker="x", s=30, c=style.VERMILION, lw=1.4, zorder=4
    )


def _worst(results: Sequence[Mapping[str, Any]], *, is_log: bool) -> float:
    """Ten times the largest first loss: further out nothing is to be seen."""
    firsts = [abs(r["first_loss"]) for r in results if r["first_loss"]]
    largest = max(firsts, default=1.0)
    return float(np.log10(largest)) + 1.0 if is_log else 10.0 * largest


def _name(facts: Facts, row: Row) -> str:
    is_chosen = facts.chosen is not None and row["trial"] == facts.chosen["trial"]
    mark = ", recommended" if is_chosen else ", baseline" if row["origin"] == "baseline" else ""
    return f"trial {row['trial']}{mark}"


def _legend(facts: Facts) -> list[Line2D]:
    def handle(label: str, **look: Any) -> Line2D:
        return Line2D([], [], ls="", ms=5, label=label, **look)

    handles = [handle("search", marker="o", mfc="white", mec=style.BLUE)]
    if facts.tested:
        handles.append(handle("stress test: fresh seeds, longer", marker="D", color=style.GREEN))
    handles.append(handle("failed", marker="x", color=style.VERMILION, mew=1.4))
    return handles
