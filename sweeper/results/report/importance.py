"""Section: which hyperparameters decide the loss, and which decide whether a setting holds."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from sweeper.results.report import style
from sweeper.results.report.facts import Facts
from sweeper.results.report.section import Section, paragraph

_MOST = 12
_CAPTION = (
    "Shares by PED-ANOVA: how differently the best quarter, or those that failed, are spread over "
    "a hyperparameter than all trials are. It tells what the search met, not what it never tried."
)


def section(facts: Facts) -> Section:
    """Two bars per hyperparameter, or why there are none."""
    for_loss, for_failure = facts.importances
    title = "Which hyperparameters decide"
    if not for_loss and not for_failure:
        return Section("importance", title, paragraph(_why_not(facts)))
    html = ""
    if not for_failure:
        html = paragraph("Nearly all trials did the same, held or failed: nothing decides that.")
    figure = _figure(facts, for_loss, for_failure)
    return Section("importance", title, html, {"importance": (figure, _CAPTION)})


def _why_not(facts: Facts) -> str:
    if not list(facts.spec.parsed_space.flat()):
        return "Nothing was searched."
    return "Too few trials have ended, or all of them did the same: nothing can be said yet."


def _figure(facts: Facts, for_loss: dict[str, float], for_failure: dict[str, float]) -> Figure:
    names = sorted(
        {**for_loss, **for_failure},
        key=lambda name: -(for_loss.get(name, 0.0) + for_failure.get(name, 0.0)),
    )[:_MOST]
    figure, (ax,) = style.new_figure(1, 1, (7.6, 1.3 + 0.36 * len(names)))
    places = np.arange(len(names))
    word = "robust_loss" if facts.objective.is_loss else facts.objective.name
    bars = [(for_loss, f"for {word}", style.BLUE, ""), (for_failure, "for failure", None, "////")]
    shown = [bar for bar in bars if bar[0]]
    height = 0.76 / len(shown)
    for index, (shares, label, colour, hatch) in enumerate(shown):
        widths = [100 * shares.get(name, 0.0) for name in names]
        where = places + (index - (len(shown) - 1) / 2) * height
        ax.barh(
            where,
            widths,
            height=0.92 * height,
            color=colour or "#f6d9c4",
            edgecolor=colour or style.VERMILION,
            hatch=hatch,
            linewidth=0.8,
            label=style.plain(label),
        )
        for place, width in zip(where, widths, strict=True):
            ax.annotate(
                f"{width:.0f}",
                (width, place),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color="#555555",
            )
    ax.set_yticks(places, [style.plain(name) for name in names])
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("share, %")
    ax.legend(loc="lower right")
    return figure
