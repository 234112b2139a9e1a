"""Section: how the loss goes, of the recommended setting, the baseline and the best refused ones.

A panel per setting, all with the same log-log axes; the recommended setting stands in each of the
others as a grey line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeper.ranking.evidence import Row, finite
from sweeper.ranking.objective import worst_run
from sweeper.results.report import style
from sweeper.results.report.facts import Facts
from sweeper.results.report.fate import broke
from sweeper.results.report.losses import Curve, curves
from sweeper.results.report.section import Section, paragraph
from sweeper.study.database import RunRow

_MOST = 4
_CAPTION = (
    "Training loss, every seed thin and the worst one bold. A cross marks the onset of a failure, "
    "a triangle the step that the curvature forecast; the dotted line ends the search's horizon. "
    "Thinned to the lowest and highest loss of each of 220 intervals."
)


@dataclass(frozen=True)
class _Panel:
    row: Row
    title: str
    colour: str
    runs: Sequence[RunRow]

    @property
    def results(self) -> list[Mapping[str, Any]]:
        return [row.result for row in self.runs if row.result is not None]


def section(facts: Facts) -> Section | None:
    """The panels; None where no run has ended."""
    panels = [panel for panel in _panels(facts) if panel.runs]
    if not panels:
        return None
    known = curves(facts.folder, [row.run.id for panel in panels for row in panel.runs])
    if not known:
        html = paragraph("The files of the trajectories can't be read; the results are complete.")
        return Section("trajectories", "Trajectories", html)
    figure = _figure(facts, panels, known)
    return Section("trajectories", "Trajectories", "", {"trajectories": (figure, _CAPTION)})


def _panels(facts: Facts) -> list[_Panel]:
    """The recommended one, else the first of the ranking; the baseline; refused ones."""
    first = facts.chosen or next(iter(facts.ranking), None)
    if first is None:
        return []
    word = "recommended" if facts.chosen else "first of the ranking"
    word += ", baseline" if first["origin"] == "baseline" else ""
    chosen = [(first, word, style.BLUE)]
    seen = {first["trial"]}
    for row in facts.baselines:
        if row["trial"] not in seen and len(chosen) < 2:
            chosen.append((row, "baseline", style.VERMILION))
            seen.add(row["trial"])
    others = iter((style.PURPLE, style.GREEN, style.ORANGE))
    for row, why in [*_refused(facts), *_broken(facts)]:
        if row["trial"] not in seen and len(chosen) < _MOST:
            chosen.append((row, why, next(others)))
            seen.add(row["trial"])
    return [
        _Panel(row, f"Trial {row['trial']}: {what}", colour, facts.shown_runs(row["trial"]))
        for row, what, colour in chosen
    ]


def _refused(facts: Facts) -> list[tuple[Row, str]]:
    """What other rankings put first."""
    return [(row, f"refused, among the first by {row['by'][0]}") for row in facts.refused]


def _broken(facts: Facts) -> list[tuple[Row, str]]:
    """What else broke, the lowest loss first: as tempting as what other rankings put first."""
    rows = [row for row in facts.ranking if broke(row)]
    rows.sort(key=lambda row: finite(row["best_loss"]))
    return [
        (row, f"failed, lowest loss {style.short(row['best_loss'])}")
        for row in rows
        if row["best_loss"] is not None
    ]


def _figure(facts: Facts, panels: Sequence[_Panel], known: Mapping[int, Curve]) -> Figure:
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    size = (4.6 * columns + 0.4, 2.9 * rows + 0.3)
    figure, axes = style.new_figure(rows, columns, size, sharex=True, sharey=True)
    is_log = not facts.has_negative
    for ax, panel in zip(axes, panels, strict=False):
        if panel is not panels[0]:
            _draw_reference(ax, panels[0], known)
        _draw(ax, panel, known)
        _end_of_search(ax, facts, panel)
        ax.set_title(style.plain(panel.title), color=panel.colour)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    _scale(axes, panels, known, is_log=is_log)
    for index, ax in enumerate(axes):
        ax.set_ylabel("training loss" if index % columns == 0 else "")
        ax.set_xlabel("step" if index + columns >= len(panels) else "")
        if index < len(panels):
            ax.tick_params(labelbottom=index + columns >= len(panels))
    handles = _legend(panels)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw(ax: Axes, panel: _Panel, known: Mapping[int, Curve]) -> None:
    worst = worst_run(panel.results)
    for index, row in enumerate(panel.runs):
        curve = known.get(row.run.id)
        if curve is None:
            continue
        steps, losses = curve
        is_worst = index == worst
        ax.plot(
            steps + 1,
            losses,
            color=panel.colour,
            lw=1.3 if is_worst else 0.6,
            alpha=1.0 if is_worst else 0.45,
            zorder=3 if is_worst else 2,
        )
        result = panel.results[index]
        if is_worst:
            _mark(ax, curve, result["onset_step"], "onset", "X", panel.colour)
            _mark(ax, curve, result.get("forecast_step"), "forecast", "v", style.INK)


def _mark(ax: Axes, curve: Curve, step: int | None, word: str, marker: str, colour: str) -> None:
    """A marker on the curve, with the step beside it."""
    steps, losses = curve
    if step is None or not len(steps) or step > steps[-1] + 1:
        return
    loss = losses[min(int(np.searchsorted(steps, step)), len(losses) - 1)]
    ax.axvline(step + 1, color=colour, lw=0.8, ls="--" if word == "onset" else ":", zorder=1)
    is_onset = word == "onset"
    # The forecast stands on the axis: on the curve it would often hide the onset.
    place: Any = ax.transData if is_onset else ax.get_xaxis_transform()
    height = loss if is_onset else 0.03
    ax.plot(
        step + 1, height, marker, color=colour, ms=8, mec="white", mew=0.9, zorder=5,
        transform=place, clip_on=is_onset,
    )  # fmt: skip
    ax.annotate(
        f"{word} {step:,}",
        (step + 1, 0.97 if is_onset else 0.88),
        xycoords=("data", "axes fraction"),
        xytext=(-5, 0),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=8.5,
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
        zorder=6,
    )


def _draw_reference(ax: Axes, first: _Panel, known: Mapping[int, Curve]) -> None:
    curve = known.get(first.runs[worst_run(first.results)].run.id)
    if curve is not None:
        ax.plot(curve[0] + 1, curve[1], color=style.GREY, lw=1.0, ls="-.", zorder=1)


def _end_of_search(ax: Axes, facts: Facts, panel: _Panel) -> None:
    if panel.row["trial"] in facts.tested:
        horizon = facts.spec.steps(panel.row["config"])
        ax.axvline(horizon, color="#777777", lw=1.0, ls=(0, (1, 2)), zorder=0)
        ax.annotate(
            "search ends",
            (horizon, 0.99),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            rotation=90,
            va="top",
            fontsize=7.5,
            color="#777777",
        )


def _scale(
    axes: Sequence[Axes], panels: Sequence[_Panel], known: Mapping[int, Curve], *, is_log: bool
) -> None:
    """Axes around what is drawn; rounding below the floor and a divergence take no more room."""
    for ax in axes:
        ax.set_xscale("log")
    drawn = [known[row.run.id][1] for panel in panels for row in panel.runs if row.run.id in known]
    losses = np.concatenate(drawn).astype(np.float64) if drawn else np.ones(1)
    firsts = [r["first_loss"] for panel in panels for r in panel.results if r["first_loss"]]
    top = 100 * max(map(abs, firsts), default=1.0)
    if not is_log:
        low, high = losses.min(initial=0.0), min(losses.max(initial=0.0), top)
        axes[0].set_ylim(low - 0.05 * (high - low) - 1e-12, high + 0.05 * (high - low) + 1e-12)
        return
    positive = losses[losses > 0]
    floor = min((r["floor"] for p in panels for r in p.results if r["floor"] > 0), default=0.0)
    if positive.size:
        low = max(float(positive.min()), floor / 10, 1e-300)
        high = max(min(float(positive.max()), top), 10 * low)
        for ax in axes:
            ax.set_yscale("log")
        axes[0].set_ylim(low / 2, high * 3)


def _legend(panels: Sequence[_Panel]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=style.INK, lw=1.3, label="worst seed"),
        Line2D([], [], color=style.INK, lw=0.6, alpha=0.45, label="other seeds"),
    ]
    if len(panels) > 1:
        label = f"trial {panels[0].row['trial']} for comparison"
        handles.append(Line2D([], [], color=style.GREY, lw=1.0, ls="-.", label=label))
    onset = Line2D([], [], color=style.INK, marker="X", ls="--", lw=0.8, ms=7, label="onset")
    forecast = Line2D([], [], color=style.INK, marker="v", ls=":", lw=0.8, ms=7, label="forecast")
    return [*handles, onset, forecast]
