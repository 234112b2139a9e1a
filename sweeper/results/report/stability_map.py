"""Section: a map of two hyperparameters, with what became of every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeper.ranking.evidence import Row
from sweeper.results.report import parameters, style
from sweeper.results.report.facts import Facts
from sweeper.results.report.fate import FATES, Fate, fate
from sweeper.results.report.section import Section
from sweeper.space import Parameter

# With more of them a colour bar becomes an image within the SVG.
_SHADES = 40
_CAPTION = (
    "Every trial by two of its hyperparameters. The mark says what became of it, the colour how "
    "good it was. The recommended setting and the baseline are ringed; baselines outside of the "
    "searched range are not shown."
)


def section(facts: Facts, x: str | None = None, y: str | None = None) -> Section | None:
    """The map; None where there are no two parameters or no trial has ended.

    Args:
        x, y: parameters; lr and eps where they were searched, else the most important ones.

    Raises:
        SweepError: one of them was not searched.
    """
    pair = _axes(facts, x, y)
    if pair is None or not facts.ranking:
        return None
    title = f"Stability map: {parameters.label(pair[0])} and {parameters.label(pair[1])}"
    figure = _figure(facts, *pair)
    return Section("map", title, "", {"stability_map": (figure, _CAPTION)})


def _axes(facts: Facts, x: str | None, y: str | None) -> tuple[Parameter, Parameter] | None:
    known = parameters.parameters(facts)
    given = [parameters.named(facts, name) for name in (x, y) if name is not None]
    if len(given) == 2:
        return given[0], given[1]
    for_loss, for_failure = facts.importances
    weights = {n: for_loss.get(n, 0.0) + for_failure.get(n, 0.0) for n in known}
    likely = [n for n in ("lr", "eps") if n in known] if {"lr", "eps"} <= set(known) else []
    order = likely + sorted(weights, key=lambda n: -weights[n])
    taken = {one.name for one in given}
    rest = [known[name] for name in dict.fromkeys(order) if name not in taken]
    if len(given) + len(rest) < 2:
        return None
    if given:
        return (given[0], rest[0]) if x is not None else (rest[0], given[0])
    return rest[0], rest[1]


def _figure(facts: Facts, x: Parameter, y: Parameter) -> Figure:
    figure, (ax,) = style.new_figure(1, 1, (7.6, 4.9))
    parameters.put_on_axis(ax, x, along="x")
    parameters.put_on_axis(ax, y, along="y")
    places = _places(facts, facts.ranking, x, y)
    norm = _norm(facts)
    used = []
    for kind in FATES:
        rows = [row for row in facts.ranking if fate(row) is kind]
        shown = [row for row in rows if row["trial"] in places]
        if shown:
            _scatter(ax, facts, kind, shown, places, norm)
            used.append(kind)
    pruned = _draw_pruned(ax, facts, x, y)
    _ring(ax, facts, places)
    bar = figure.colorbar(ScalarMappable(norm, _colours(facts)), ax=ax, pad=0.01, aspect=30)
    assert bar.solids is not None
    bar.solids.set_edgecolor("face")  # else white lines between the shades
    bar.outline.set_visible(False)
    bar.set_label(style.plain(_value_name(facts)))
    handles = [_handle(kind) for kind in used]
    if pruned:
        handles.append(Line2D([], [], ls="", marker=".", color=style.GREY, label="pruned"))
    figure.legend(handles=handles, loc="outside upper left", ncols=3, handletextpad=0.1)
    return figure


def _colours(facts: Facts) -> Colormap:
    """Dark is good, whatever the direction; without the yellow that white paper swallows."""
    shades = colormaps["viridis"](np.linspace(0.0, 0.92, _SHADES))
    return ListedColormap(shades if _is_minimised(facts) else shades[::-1])


def _value_name(facts: Facts) -> str:
    return facts.loss_name if facts.objective.is_loss else facts.objective.name


def _places(
    facts: Facts, rows: Sequence[Row], x: Parameter, y: Parameter
) -> dict[int, tuple[float, float]]:
    """Where trials lie, by number; those that lie nowhere are left out."""
    numbers = [row["trial"] for row in rows]
    columns = []
    for one, stride in ((x, 0.618034), (y, 0.414214)):
        values = [
            parameters.drawn(one, facts.trials[number].draws, facts.trials[number].config)
            for number in numbers
        ]
        columns.append(parameters.positions(one, values, numbers, stride))
    return {
        number: (float(across), float(up))
        for number, across, up in zip(numbers, *columns, strict=True)
        if np.isfinite(across) and np.isfinite(up)
    }


def _norm(facts: Facts) -> Normalize:
    """From the best value to one that leaves out what diverged."""
    values = [value for row in facts.ranking if (value := facts.value(row)) is not None]
    known = np.array([value for value in values if np.isfinite(value)])
    if not known.size:
        return Normalize(0.0, 1.0)
    low, high = np.quantile(known, [0.0, 0.9] if _is_minimised(facts) else [0.1, 1.0])
    return Normalize(float(low), float(high) if high > low else float(low) + 1.0)


def _is_minimised(facts: Facts) -> bool:
    return facts.objective.direction == "minimize"


def _scatter(
    ax: Axes,
    facts: Facts,
    kind: Fate,
    rows: Sequence[Row],
    places: Mapping[int, tuple[float, float]],
    norm: Normalize,
) -> None:
    x, y = zip(*(places[row["trial"]] for row in rows), strict=True)
    bad = float((norm.vmax if _is_minimised(facts) else norm.vmin) or 0.0)
    values = [facts.value(row) for row in rows]
    colours = [bad if value is None or not np.isfinite(value) else value for value in values]
    is_proven = kind is FATES[0]
    if not kind.is_filled:  # a dark edge: light colours must be seen on white
        ax.scatter(x, y, marker=kind.marker, color="#555555", s=44, linewidths=2.8, zorder=3)
    ax.scatter(
        x,
        y,
        c=colours,
        cmap=_colours(facts),
        norm=norm,
        marker=kind.marker,
        s=64 if is_proven else 36,
        linewidths=(1.4 if is_proven else 0.5) if kind.is_filled else 1.5,
        edgecolors=(style.INK if is_proven else "#555555") if kind.is_filled else None,
        zorder=4 if is_proven else 3,
    )


def _draw_pruned(ax: Axes, facts: Facts, x: Parameter, y: Parameter) -> bool:
    """Trials that were given up or pruned have no value: a grey dot."""
    rows = [{"trial": t.number} for t in facts.trials.values() if t.result is None and t.draws]
    places = list(_places(facts, rows, x, y).values())
    if places:
        x_places, y_places = zip(*places, strict=True)
        ax.scatter(x_places, y_places, marker=".", color=style.GREY, s=16, zorder=2)
    return bool(places)


def _ring(ax: Axes, facts: Facts, places: Mapping[int, tuple[float, float]]) -> None:
    """The settings that the reader looks for, by name."""
    named = [(row, "baseline", style.VERMILION) for row in facts.baselines[:1]]
    if facts.chosen is not None:
        named.append((facts.chosen, "recommended", style.BLUE))
    for row, word, colour in named:
        if row["trial"] not in places:
            continue
        place = places[row["trial"]]
        ax.scatter(
            place[0],
            place[1],
            s=190,
            facecolors="none",
            edgecolors=colour,
            linewidths=1.8,
            zorder=5,
        )
        across = ax.transAxes.inverted().transform(ax.transData.transform(place))[0]
        is_right = across > 0.7
        ax.annotate(
            f"{word}, trial {row['trial']}",
            place,
            xytext=(-11 if is_right else 11, 7),
            textcoords="offset points",
            ha="right" if is_right else "left",
            color=colour,
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
            zorder=6,
        )


def _handle(kind: Fate) -> Line2D:
    is_proven = kind is FATES[0]
    return Line2D(
        [],
        [],
        ls="",
        marker=kind.marker,
        ms=8 if is_proven else 6,
        mfc="#c9c9c9",
        mec=style.INK if is_proven or not kind.is_filled else "#555555",
        mew=1.4 if is_proven or not kind.is_filled else 0.5,
        label=kind.word,
    )
