"""A section of the report, and how text gets into it: escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Section:
    """What one file of this package makes.

    Args:
        key: of its anchor and, with the names of the figures, of the PNG files.
        title: as text.
        html: before the figures.
        figures: by name, each with a caption of one sentence.
    """

    key: str
    title: str
    html: str = ""
    figures: Mapping[str, tuple[Figure, str]] = field(default_factory=dict)


def text(value: object) -> str:
    """Text for a page, whatever is in it."""
    # A lone surrogate can't be written at all.
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def paragraph(value: object, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{_class(kind)}>{text(value)}</p>"


def table(head: Sequence[object], rows: Sequence[Sequence[str]], kinds: Sequence[str] = ()) -> str:
    """A table.

    Args:
        head: plain text.
        rows: of HTML: what is not ours has gone through `text`.
        kinds: class of each row.
    """
    lines = ["<div class='wide'><table><thead><tr>"]
    lines += [f"<th>{text(name)}</th>" for name in head]
    lines.append("</tr></thead><tbody>")
    for index, row in enumerate(rows):
        cells = "".join(f"<td>{cell}</td>" for cell in row)
        lines.append(f"<tr{_class(kinds[index] if kinds else '')}>{cells}</tr>")
    return "".join([*lines, "</tbody></table></div>"])


def _class(kind: str) -> str:
    return f" class='{kind}'" if kind else ""
