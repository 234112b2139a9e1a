"""Which program a run belongs to, so that a lane gets more of what it has.

Runs of one program share a pack. A lane trains its fullest pack first, so it is best filled up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sweeper.optim.configuration import Program, parse
from sweeper.space import programs
from sweeper.spec import SweepSpec
from sweeper.study.book import Book

# So many times the trials of one program are open at once, at most: an adaptive
# sampler learns nothing from those that run.
_MOST_FACTOR = 2.0


def count_programs(spec: SweepSpec) -> int:
    """Programs that the search may draw."""
    return len(programs(spec.parsed_space))


def queues(count: int) -> float:
    """Packs' worth of runs that a lane holds, on average, so that one of its packs is full.

    Runs come at random, and the fullest pack is trained until it is empty: then the others are
    anything between empty and full.
    """
    return (count + 1) / 2


def open_factor(count: int) -> float:
    """How many times more trials are open at once for so many programs."""
    return min(queues(count), _MOST_FACTOR)


class Grouping:
    """The order in which a lane is given runs.

    Args:
        book: has the runs.
        spec: of the sweep.

    Attributes:
        is_several: whether the search may draw several programs.
    """

    def __init__(self, book: Book, spec: SweepSpec) -> None:
        self._book = book
        self.is_several = count_programs(spec) > 1
        self._known: dict[int, Program] = {}  # by number of the trial

    def ordered(self, free: Iterable[int], held: Iterable[int]) -> Iterable[int]:
        """Runs in the order in which a lane gets them: of the program that it holds most of, then
        of those whose oldest run waits longest; within a program by id.

        Args:
            free: by id.
            held: runs of the lane.
        """
        if not self.is_several:
            return free
        counts = Counter(self._program(run) for run in held if run in self._book.runs)
        groups: dict[Program, list[int]] = {}
        for run in free:
            groups.setdefault(self._program(run), []).append(run)
        wanted = sorted(groups, key=lambda program: -counts[program])  # else by the oldest run
        return (run for program in wanted for run in groups[program])

    def _program(self, run: int) -> Program:
        trial = self._book.runs[run].run.trial
        if trial not in self._known:
            self._known[trial] = parse(self._book.trials[trial].config).program
        return self._known[trial]
