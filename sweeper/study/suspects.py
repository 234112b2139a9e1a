"""Suspects: runs whose lane died with them. One of them may have killed it, the others did not.

They are trained apart from all other runs, in ever smaller groups, until each gets past the point
where its lane died: then it is cleared. What dies alone in the end has killed its lane.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

_NEVER = 2**62
# What a process that broke down by itself leaves in its log.
_CRASH = re.compile(r"Fatal Python error|Traceback|terminate called|CUDA error|Aborted")
# A lane that went without a word may have been killed from outside: it proves less.
MOST_CRASHES, MOST_SILENT = 3, 5


def shows_crash(words: str) -> bool:
    """Whether the end of a log shows that its process broke down by itself."""
    return _CRASH.search(words) is not None


class Progress(NamedTuple):
    """How far a run had come when its lane died: the step on disk, and the last one heard of."""

    saved: int
    heard: int


@dataclass(slots=True)
class _Suspect:
    deaths: int
    best: Progress  # over all its deaths
    cleared_at: int  # step


class Suspects:
    """Who is suspected, and for how long.

    Args:
        deaths: deaths and step on disk by run, of a study before this one; where they died is not
            known any more, so they are cleared by a row file or by their end only.
    """

    def __init__(self, deaths: Mapping[int, tuple[int, int]]) -> None:
        self._all = {
            run: _Suspect(count, Progress(step, step), _NEVER)
            for run, (count, step) in deaths.items()
            if count > 0
        }

    def __contains__(self, run: int) -> bool:
        return run in self._all

    def deaths_after(self, runs: Mapping[int, Progress]) -> dict[int, int]:
        """Deaths in a row, by run, when the lane of these has died once more.

        Who got ahead since the death before starts again at 1: what kills its lane never does.
        """
        return {run: self._deaths_before(run, at) + 1 for run, at in runs.items()}

    def blame(self, deaths: Mapping[int, int], runs: Mapping[int, Progress], stride: int) -> None:
        """Note deaths.

        Args:
            deaths: what `deaths_after` gave.
            runs: how far they had come.
            stride: steps that they may have made since they were heard of.
        """
        for run, at in runs.items():
            before = self._all.get(run)
            best, cleared_at = at, max(at) + stride + 1
            if before is not None:
                best = Progress(max(at.saved, before.best.saved), max(at.heard, before.best.heard))
                known = before.cleared_at if before.cleared_at != _NEVER else 0
                cleared_at = max(known, cleared_at)
            self._all[run] = _Suspect(deaths[run], best, cleared_at)

    def _deaths_before(self, run: int, at: Progress) -> int:
        suspect = self._all.get(run)
        if suspect is None:
            return 0
        is_ahead = at.saved > suspect.best.saved or at.heard > suspect.best.heard
        return 0 if is_ahead else suspect.deaths

    def cleared_by(
        self, held: Mapping[int, int], saved: Collection[int], done: Collection[int]
    ) -> list[int]:
        """Suspects that are none any more.

        Args:
            held: step by run of what a lane trains: one that got past its danger is cleared.
            saved: runs with a new row file, which counts where that point is not known.
            done: runs that have ended.
        """

        def is_cleared(run: int) -> bool:
            cleared_at = self._all[run].cleared_at
            is_past = held.get(run, -1) >= cleared_at or (cleared_at == _NEVER and run in saved)
            return run in done or is_past

        return [run for run in {*held, *saved, *done} if run in self._all and is_cleared(run)]

    def clear(self, runs: Iterable[int]) -> None:
        for run in runs:
            self._all.pop(run, None)

    def group(self, is_free: Callable[[int], bool], capacity: int) -> list[int]:
        """Of suspects that nobody has, those to train together next: the gravest case alone."""
        waiting = sorted((run for run in self._all if is_free(run)), key=self._gravest_first)
        if not waiting:
            return []
        if self._all[waiting[0]].deaths > 1:
            return waiting[:1]
        return waiting[: max(2, capacity // 8)]

    def _gravest_first(self, run: int) -> tuple[int, int]:
        return -self._all[run].deaths, run
