"""Section: what a wrong learning rate costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeper.ranking.evidence import Evidence, Row, is_feasible
from sweeper.ranking.lr_sensitivity import lr_sensitivity
from sweeper.results.report import style
from sweeper.results.report.facts import Facts
from sweeper.results.report.fate import FAILED, FATES, HELD, PROVEN, fate
from sweeper.results.report.section import Section, paragraph

_CAPTION = (
    "What every learning rate came to, whatever the other hyperparameters. The line joins the "
    "best trials that held, one per third of a decade: where it is flat, a wrong lr costs little."
)
_PER_DECADE = 3


def section(facts: Facts) -> Section | None:
    """The objective over lr; None where fewer than three learning rates were tried."""
    rows = [
        row for row in facts.ranking if _lr(row) is not None and _known(facts, row) is not None
    ]
    if len({_lr(row) for row in rows}) < 3:
        return None
    html = _numbers(facts)
    figure = _figure(facts, rows)
    return Section("lr", "Learning rate", html, {"lr_sensitivity": (figure, _CAPTION)})


def _numbers(facts: Facts) -> str:
    """LRS of the recommended setting and of the baseline, in words."""
    results = {
        number: [one.result for one in rows if one.result is not None]
        for number, rows in facts.runs.items()
    }
    found = lr_sensitivity(facts.ranking, Evidence(runs=results))
    named = [(facts.chosen, "the recommended setting")] if facts.chosen else []
    named += [(row, f"the baseline, trial {row['trial']},") for row in facts.baselines[:1]]
    said = [
        f"{word} {style.short(found[row['trial']])}"
        for row, word in named
        if row is not None and math.isfinite(found[row["trial"]])
    ]
    if not said:
        return ""
    return paragraph(
        "LR sensitivity, the mean loss that settings like it with another lr lose (Wortsman et "
        f"al. 2023): {' and '.join(said)}. It counts final losses, failed or not."
    )


def _figure(facts: Facts, rows: Sequence[Row]) -> Figure:
    figure, (ax,) = style.new_figure(1, 1, (7.6, 3.6))
    ax.set_xscale("log")
    for kind in FATES:
        chosen = [row for row in rows if fate(row) is kind]
        if not chosen:
            continue
        is_good = kind in (PROVEN, HELD)
        colour = style.BLUE if is_good else style.VERMILION
        ax.scatter(
            [_lr(row) or 1.0 for row in chosen],
            _values(facts, chosen),
            marker=kind.marker,
            s=44 if kind is PROVEN else 26,
            facecolors=(colour if kind is PROVEN else "white") if kind is not FAILED else colour,
            edgecolors=colour if kind is not FAILED else None,
            linewidths=1.2,
            zorder=4 if is_good else 3,
            label=kind.word,
        )
    _envelope(ax, facts, [row for row in rows if is_feasible(row)])
    for row, word, colour in _named(facts):
        ax.axvline(_lr(row) or 1.0, color=colour, lw=1.0, ls="--", zorder=1)
        ax.annotate(
            style.plain(word), (_lr(row) or 1.0, 1.0), xycoords=("data", "axes fraction"),
            xytext=(3, -3), textcoords="offset points", va="top", color=colour, fontsize=8,
            rotation=90,
        )  # fmt: skip
    ax.set_xlabel("lr")
    ax.set_ylabel(
        style.plain(facts.loss_name if facts.objective.is_loss else facts.objective.name)
    )
    figure.legend(loc="outside upper left", ncols=3, handletextpad=0.1)
    return figure


def _named(facts: Facts) -> list[tuple[Row, str, str]]:
    found = [(row, "baseline", style.VERMILION) for row in facts.baselines[:1]]
    if facts.chosen is not None:
        found.append((facts.chosen, "recommended", style.BLUE))
    return [one for one in found if _lr(one[0]) is not None]


def _envelope(ax: Axes, facts: Facts, rows: Sequence[Row]) -> None:
    """The best of those that held in each third of a decade."""
    best: dict[int, Row] = {}
    for row in rows:
        place = math.floor(_PER_DECADE * math.log10(_lr(row) or 1.0))
        cost = facts.objective.cost(facts.value(row))
        if place not in best or cost < facts.objective.cost(facts.value(best[place])):
            best[place] = row
    if len(best) > 1:
        chosen = [best[place] for place in sorted(best)]
        ax.plot(
            [_lr(row) or 1.0 for row in chosen],
            _values(facts, chosen),
            color=style.BLUE,
            lw=1.4,
            zorder=2,
        )


def _lr(row: Row) -> float | None:
    lr = row["config"].get("lr")
    return float(lr) if isinstance(lr, int | float) and 0 < lr < math.inf else None


def _values(facts: Facts, rows: Sequence[Row]) -> list[float]:
    """What can be drawn: what diverged stands at the top, not at 1e300."""
    highest = _highest(facts)
    return [min(_known(facts, row) or 0.0, highest) for row in rows]


def _known(facts: Facts, row: Row) -> float | None:
    value = facts.value(row)
    return value if value is not None and math.isfinite(value) else None


def _highest(facts: Facts) -> float:
    if not facts.objective.is_loss:
        return math.inf
    known = [one for row in facts.ranking if (one := _known(facts, row)) is not None]
    typical = float(np.median(known))
    return typical + 4 * max(1.0, float(np.quantile(known, 0.9)) - typical)
