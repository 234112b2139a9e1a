"""A small real sweep, trained in this process, and a look into its report."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from rich.console import Console

import sweeper
from sweeper.results.sweep import SweepHandle

SPEC: dict[str, Any] = {
    "name": "small",
    "task": "perceptron",
    "horizon": 200,
    "seeds": 2,
    "baseline": {"optimizer": "adam", "lr": 1e-3},
    "space": {
        "lr": {"log_uniform": [1e-5, 1e-1]},
        "eps": {"log_uniform": [1e-10, 1.0]},
        "beta2": {"one_minus_log_uniform": [1e-4, 0.2]},
        "schedule": {
            "choice": {"constant": {}, "cosine": {"final": {"log_uniform": [1e-3, 1.0]}}}
        },
    },
    "search": {"sampler": "qmc"},
    "budget": {"trials": 14},
    "stress": {"top": 2, "seeds": 2, "neighbours": 1},
    "lanes": {"slots": 8},
}


def swept(folder: Path, **changes: Any) -> SweepHandle:
    """Launch a sweep whose files lie in `folder`."""
    spec = {**SPEC, "storage": str(folder), **changes}
    return sweeper.launch(spec, local=True, console=Console(quiet=True))


class Page(HTMLParser):
    """What a page shows, and what it would load.

    `tags` are all elements by name, `links` the values of src and href, `text` what is read,
    `cells` the texts of the table cells, row by row, by the id of their section.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.cells: dict[str, list[list[str]]] = {}
        self._section, self._is_cell = "", False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        assert not any(name.startswith("on") for name in found)
        self.links += [found[k] or "" for k in ("src", "href", "xlink:href") if k in found]
        self.ids += [found["id"] or ""] if "id" in found else []
        rows = self.cells.setdefault(self._section, [])
        if tag == "section":
            self._section = found["id"] or ""
        elif tag == "tr":
            rows.append([])
        elif tag in ("td", "th"):
            rows[-1].append("")
            self._is_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._is_cell = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._is_cell:
            self.cells[self._section][-1][-1] += data


def read_page(path: Path) -> Page:
    """A report; what it would load must be in it."""
    page = Page(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert all(link.startswith("#") for link in page.links)
    assert "@import" not in page.html
    assert all(link.removeprefix("#") in page.ids for link in page.links)
    return page
