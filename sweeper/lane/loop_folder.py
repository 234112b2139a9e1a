"""The folder of a run with its own loop: whose it is at the moment, and how it begins."""

from __future__ import annotations

import fcntl
import shutil
import time
from itertools import pairwise
from pathlib import Path
from typing import IO

from sweeper.errors import SweepError
from sweeper.lane.journal import Entry, Journal

FOLDER = "loops"
_LOCK = ".lock"
# A process that lost its lane ends within a second or two; only then the next one may begin.
_PATIENCE_S = 120.0
_AGAIN_S = 0.1


class LostError(Exception):
    """Steps of a run are known neither here nor to the lane: it must start anew."""


class LoopFolder:
    """The folder of a run, owned by this process until it ends.

    Args:
        path: made if it isn't there.

    Raises:
        SweepError: another process has it and doesn't end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path)

    def journal(self, run: str, step: int) -> tuple[Journal, list[Entry]]:
        """The journal of a run, open, and its entries from `step` on, without a gap.

        What another run left behind is removed.

        Raises:
            LostError: the journal is gone, or ends in a gap; the folder is empty now.
        """
        journal = Journal(self.path, run)
        if journal.is_new:
            self.empty()
        entries = [entry for entry in journal.entries if entry.stop > step]
        has_gap = any(a.stop != b.first for a, b in pairwise(entries))
        if (journal.is_new and step > 0) or has_gap or (entries and entries[0].first > step):
            self.empty()
            raise LostError
        journal.open()
        return journal, entries

    def empty(self) -> None:
        """Remove everything that the loop left here."""
        for one in self.path.iterdir():
            if one.is_dir() and not one.is_symlink():
                shutil.rmtree(one)
            elif one.name != _LOCK:
                one.unlink()


def _locked(folder: Path) -> IO[str]:
    """A lock that ends with this process; processes that it forks have no part in it."""
    deadline = time.monotonic() + _PATIENCE_S
    file = (folder / _LOCK).open("a")
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except (BlockingIOError, PermissionError) as error:
            if time.monotonic() > deadline:
                file.close()
                raise SweepError(
                    f"another process writes to {folder}",
                    where="task",
                    cure="End what is left of an earlier sweep, then go on with `sweeper resume`.",
                ) from error
        time.sleep(_AGAIN_S)
