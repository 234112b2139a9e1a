"""Inquests: why a lane process died, which of its runs may be to blame, and when it is enough."""

from __future__ import annotations

from collections.abc import Callable

from sweeper.study.book import Book
from sweeper.study.database import Change, Trial
from sweeper.study.leases import Death
from sweeper.study.suspects import MOST_CRASHES, MOST_SILENT, Progress, Suspects, shows_crash
from sweeper.study.trials import Trials

# Lanes that fail this often, without anything reported in between, end the sweep.
_MAX_FAILURES = 3

Write = Callable[[Change, Callable[[], None]], None]
Explain = Callable[[Death], str | None]


class Inquests:
    """Into the deaths of lane processes.

    Args:
        book: of the sweep.
        trials: of the book.
        suspects: gets and gives the runs that may be to blame.
        explain: the last words of a dead process; None where its runs can't be to blame.
        write: makes a change, and does what follows from it once it is on disk.
        repeated: steps that were made again so far.

    Attributes:
        error: why the sweep can't go on.
    """

    def __init__(
        self,
        book: Book,
        trials: Trials,
        suspects: Suspects,
        *,
        explain: Explain,
        write: Write,
        repeated: int,
    ) -> None:
        self._book, self._trials, self._suspects = book, trials, suspects
        self._explain, self._write = explain, write
        self.repeated = repeated
        self.error: str | None = None
        self._failures = 0
        self._words: dict[int, str] = {}  # of the last lane that died with a run

    def found_dead(self, death: Death) -> None:
        """A process is silent, or another one has taken its place."""
        words = self._explain(death)
        if words is None:
            self.count_repeated(death)
        else:
            self.died(death, words, is_crash=shows_crash(words))

    def died(self, death: Death, words: str, *, is_crash: bool) -> None:
        """A process has died by something that its runs may have done."""
        self.count_repeated(death)
        if death.runs:
            self._blame(death, words, MOST_CRASHES if is_crash else MOST_SILENT)
        else:
            self.failed(words or "a lane died that had nothing to train")

    def count_repeated(self, death: Death) -> None:
        """Note the steps that are to be made again, as far as they were heard of."""
        rows = [self._book.runs[run] for run in death.runs if self._book.is_open(run)]
        self.repeated += sum(max(0, death.held.get(r.run.id, 0) - r.step) for r in rows)

    def failed(self, message: str) -> None:
        """A lane came to nothing."""
        self._failures += 1
        if self._failures >= _MAX_FAILURES:
            self.error = message

    def got_ahead(self) -> None:
        """Something was reported: what failed before doesn't keep the sweep from going on."""
        self._failures = 0

    def _blame(self, death: Death, words: str, most: int) -> None:
        """Suspect the runs of a dead lane, or give up the one that has died alone."""
        open_runs = [self._book.runs[run] for run in death.runs if self._book.is_open(run)]
        runs = {row.run.id: Progress(row.step, death.held.get(row.run.id, 0)) for row in open_runs}
        deaths = self._suspects.deaths_after(runs)
        self._words |= dict.fromkeys(runs, words) if words else {}
        # A lane that woke up may still train what it was told to drop.
        is_alone = len({*death.runs, *death.held}) == 1
        told = [self._given_up(r, most) for r in runs if is_alone and deaths[r] >= most]

        def then() -> None:
            if told:
                self.failed(told[0].error or "")
            else:
                self._suspects.blame(deaths, runs, death.stride)

        self._write(Change(deaths=deaths, told=told), then)

    def _given_up(self, run: int, deaths: int) -> Trial:
        row = self._book.runs[run]
        words = self._words.get(run) or "it left no message"
        error = (
            f"run {run} (seed {row.run.seed}): its lane died {deaths} times with it, "
            f"the last time with it alone:\n{words}"
        )
        return self._trials.given_up(run, error)
