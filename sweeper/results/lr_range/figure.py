"""A range test as a figure: the loss of every setting over lr, with the three regions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeper.results.lr_range.run import RangeTest, Tried
from sweeper.results.report import style

_COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
# Losses further above the first one than this tell nothing more.
_TOP = 2.0
# From this ratio of losses on the axis is logarithmic.
_LOG = 100.0


def write(test: RangeTest, path: Path, *, title: str) -> None:
    """Draw it into a PNG file; raises SweepError where it can't be written."""
    with style.styled():
        style.save(_figure(test, title), path)


def _figure(test: RangeTest, title: str) -> Figure:
    by_optimizer: dict[str, list[Tried]] = {}
    for one in test.settings:
        by_optimizer.setdefault(one.optimizer, []).append(one)
    size = (7.6, 0.6 + 2.7 * len(by_optimizer))
    figure, axes = style.new_figure(len(by_optimizer), 1, size, sharex=True)
    for place, (ax, (name, settings)) in enumerate(zip(axes, by_optimizer.items(), strict=True)):
        _draw(ax, test, settings, _COLOURS[place % len(_COLOURS)])
        count = len(settings)
        head = f"{title}: " if place == 0 else ""
        ax.set_title(f"{head}{name}, {count} setting{'s' if count > 1 else ''}")
    axes[-1].set_xlabel("learning rate")
    return figure


def _draw(ax: Axes, test: RangeTest, settings: Sequence[Tried], colour: str) -> None:
    ax.set_xscale("log")
    ax.set_xlim(test.lr[0], test.lr[-1])
    ax.set_ylabel("loss")
    curves = np.array([one.reading.smoothed for one in settings])
    _limits(ax, curves)
    for one in settings:
        is_baseline = one.origin == "baseline"
        line = style.INK if is_baseline else colour
        width = 1.8 if is_baseline else 1.0
        ax.plot(
            test.lr,
            one.reading.smoothed,
            color=line,
            linewidth=width,
            alpha=1.0 if is_baseline or len(settings) < 4 else 0.6,
            zorder=4 if is_baseline else 3,
            label="baseline" if is_baseline else None,
        )
        if one.reading.picked is not None:
            y = one.reading.smoothed[np.searchsorted(test.lr, one.reading.picked * (1 - 1e-9))]
            ax.plot(one.reading.picked, y, "o", color=line, markersize=4, zorder=5)
    _regions(ax, test, settings)
    if any(one.origin == "baseline" for one in settings):
        ax.legend(loc="lower left")


def _limits(ax: Axes, curves: np.ndarray) -> None:
    known = curves[np.isfinite(curves)]
    if not known.size:
        return
    first, low = float(np.nanmax(curves[:, 0])), float(known.min())
    if low > 0 and first / low > _LOG:
        ax.set_yscale("log")
        ax.set_ylim(low / 2, first * 10 ** (_TOP / 2))
        return
    ax.set_ylim(low - 0.05 * abs(first - low), first + (_TOP - 1) * max(first - low, 1e-12))


def _regions(ax: Axes, test: RangeTest, settings: Sequence[Tried]) -> None:
    """Shade where no setting learns, and where all that do diverge; name the regions."""
    readings = [one.reading for one in settings if one.reading.begins is not None]
    text: dict[str, Any] = {
        "transform": ax.get_xaxis_transform(),
        "color": "#666666",
        "fontsize": 8,
        "va": "top",
    }
    if not readings:
        ax.text(test.lr[0] * 1.2, 0.97, "no setting learns", **text)
        return
    begins = min(one.begins for one in readings if one.begins is not None)
    ends = [one.diverges for one in readings if one.diverges is not None]
    ax.axvspan(test.lr[0], begins, color="#f0f0f0", zorder=0)
    ax.text(test.lr[0] * 1.2, 0.97, "too small", **text)
    ax.text(begins * 1.1, 0.97, "learns", **text)
    if len(ends) == len(readings):
        ax.axvspan(max(ends), test.lr[-1], color="#fbe9e0", zorder=0)
        ax.text(max(ends) * 1.1, 0.97, "diverges", **text)
