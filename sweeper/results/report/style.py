"""How figures look: Okabe & Ito's colours, readable in print and by colour-blind eyes.

Text stays text in the SVG: it is small, can be searched, and matplotlib escapes it.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from sweeper.errors import SweepError

BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
SKY, ORANGE, GREY, INK = "#56b4e9", "#e69f00", "#8a8a8a", "#222222"
_STYLE: Any = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9a9a9a",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8e8e8",
    "grid.linewidth": 0.6,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "sweeper",
    "path.simplify_threshold": 0.3,
}
_DPI = 150
_DATES: Any = {"Date": None, "Creator": None}


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save in this look, without complaints of letters that no font has."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        # Names too long for the figure: they are cut.
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        yield


def new_figure(
    rows: int, columns: int, size: tuple[float, float], **shared: Any
) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row. It belongs to no window and needs not be closed."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    return figure, list(axes.ravel())


def svg(figure: Figure, name: str) -> str:
    """A figure as an element of a page; its ids begin with `name`, so that none stands twice."""
    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata=_DATES)
    figure.set_layout_engine("none")  # the places are found: once is enough
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    # The size follows the page; the proportions are those of the viewBox.
    return re.sub(r'^<svg ([^>]*?)width="[^"]*"|^<svg height="[^"]*"', r"<svg \1", text, count=1)


def png(figure: Figure) -> bytes:
    """A figure as a file."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write a figure into a PNG file, its folder made; raises SweepError where that can't be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(figure))
    except OSError as error:
        raise SweepError(f"can't be written: {error.strerror}", where=str(path)) from error


def plain(text: object) -> str:
    """Text that means what it says: dollars begin no formula, and no letter can't be drawn."""
    return str(text).encode("utf-8", "replace").decode("utf-8").replace("$", r"\$")


def short(value: float) -> str:
    """A number of a setting, such as 3.1e-4."""
    if value == 0 or 1e-2 <= abs(value) < 1e4:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
