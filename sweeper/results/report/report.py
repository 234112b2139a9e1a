"""Making a report: gather, draw, write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweeper.errors import SweepError
from sweeper.lane.storage import Storage
from sweeper.results.report import (
    FOLDER,
    front,
    importance,
    leaderboard,
    lr_sensitivity,
    recommendation,
    seeds,
    spent,
    stability_map,
    style,
    trajectories,
)
from sweeper.results.report.facts import Facts, gather
from sweeper.results.report.page import page
from sweeper.results.report.section import Section
from sweeper.results.sweep import SweepHandle

FILE = "report.html"


def write_report(
    handle: SweepHandle,
    path: Path | None = None,
    *,
    x: str | None = None,
    y: str | None = None,
    state: str | None = None,
) -> Path:
    """Write the report of a sweep, finished or not, and its figures as PNG files beside it.

    Args:
        path: of the HTML; default `report/report.html` in the folder of the sweep.
        x, y: hyperparameters of the stability map.
        state: of the sweep, where its launch knows better than its database.

    Returns:
        The HTML file.

    Raises:
        SweepError: x or y was not searched, or the file can't be written.
    """
    facts = gather(handle, state)
    own = handle.folder.path / FOLDER / FILE
    target = (path or own).expanduser().absolute()
    # In a folder of the user's there may be other reports.
    prefix = "" if target == own else f"{target.stem}-"
    with style.styled():
        sections = _sections(facts, x, y)
        files = {target.name: page(facts, sections).encode()}
        for section in sections:
            for name, (figure, _) in section.figures.items():
                files[f"{prefix}{name}.png"] = style.png(figure)
    storage = Storage(str(target.parent))
    for name, data in files.items():
        try:
            storage.write(name, data)
        except OSError as error:
            raise SweepError(
                f"can't write {target.parent / name}: {error.strerror or error}",
                cure="Choose another file with -o.",
            ) from error
    return target


def _sections(facts: Facts, x: str | None, y: str | None) -> Sequence[Section]:
    """What there is to be said, in the order in which one asks."""
    found = (
        recommendation.section(facts),
        trajectories.section(facts),
        leaderboard.section(facts),
        front.section(facts),
        stability_map.section(facts, x, y),
        importance.section(facts),
        seeds.section(facts),
        lr_sensitivity.section(facts),
        spent.section(facts),
    )
    return [section for section in found if section is not None]
