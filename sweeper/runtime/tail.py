"""The log files of a sweep on this machine: what they end with, and what comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sweeper.results.status import runs
from sweeper.runtime.logs import FOLDER as LANES
from sweeper.study.folder import Folder

_POLL_S = 0.5
_MOST_BYTES = 1_000_000


def show(folder: Folder, say: Callable[[str], None], *, lines: int, follow: bool) -> None:
    """Say the last lines of every log, each with the name of its file.

    Args:
        lines: of each file.
        follow: go on with what is added, until the sweep runs no more.
    """
    seen = {}
    for path in _files(folder):
        seen[path] = path.stat().st_size
        for line in _last(path, lines):
            say(f"{_name(folder, path)}: {line}")
    while follow:
        goes_on = runs(folder)
        for path in _files(folder):
            for line in _added(path, seen):
                say(f"{_name(folder, path)}: {line}")
        if not goes_on:
            return
        time.sleep(_POLL_S)


def _files(folder: Folder) -> Iterator[Path]:
    """Ray's log, the tracker's, and one of each lane process."""
    yield from sorted(folder.path.glob("*.log"))
    yield from sorted((folder.path / LANES).glob("*.log"))


def _name(folder: Folder, path: Path) -> str:
    return str(path.relative_to(folder.path).with_suffix(""))


def _last(path: Path, count: int) -> list[str]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _MOST_BYTES))
        return file.read().decode(errors="replace").splitlines()[-count:] if count else []


def _added(path: Path, seen: dict[Path, int]) -> list[str]:
    """Whole lines that have come since; one that is being written waits."""
    with path.open("rb") as file:
        file.seek(seen.get(path, 0))
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    seen[path] = seen.get(path, 0) + len(whole)
    return whole.decode(errors="replace").splitlines()
