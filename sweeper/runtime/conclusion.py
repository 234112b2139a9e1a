"""What a finished sweep leaves: recommended.json, the report, and copies of both."""

from __future__ import annotations

import json

from rich.console import Console

from sweeper.errors import SweepError
from sweeper.lane.storage import reason_of
from sweeper.results.report import FOLDER as REPORT
from sweeper.results.sweep import SweepHandle
from sweeper.study.folder import Folder


def conclude(folder: Folder, console: Console) -> None:
    """Write recommendation and report of a finished sweep.

    Raises:
        SweepError: recommended.json can't be written. Whatever is wrong with the rest is said.
    """
    _recommend(folder)
    _report(folder, console)
    _copy_results(folder, console)


def _report(folder: Folder, console: Console) -> None:
    """Write the report. Whatever is wrong with it, the sweep is finished."""
    try:
        from sweeper.results.report.report import write_report

        write_report(SweepHandle(folder), state="finished")
    except Exception as error:
        said = f"The report can't be written ({error}); `sweeper report` makes it anew."
        console.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _copy_results(folder: Folder, console: Console) -> None:
    """Put report and recommendation where the row files are, if that is elsewhere."""
    own, storage = folder.own, folder.storage
    if storage.folder == own.folder:
        return
    files = [f"{REPORT}/{name}" for name in own.names(REPORT)] + ["recommended.json"]
    try:
        for name in files:
            if own.local(name).is_file():
                storage.write(name, own.read(name))
    except OSError as error:
        said = f"The report can't be copied to {storage.folder} ({reason_of(error)})."
        console.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _recommend(folder: Folder) -> None:
    try:
        found = SweepHandle(folder).recommendation()
    except SweepError:
        return  # every trial failed: the table says so
    try:
        folder.own.write("recommended.json", json.dumps(found, indent=2).encode())
    except OSError as error:
        raise SweepError(
            f"the sweep is finished, but recommended.json can't be written: {error.strerror}",
            where=str(folder.path),
            cure="`sweeper export` makes it anew.",
        ) from error
