"""What of a lane's report counts: it has to continue what is on disk."""

from __future__ import annotations

from sweeper.lane.protocol import Report
from sweeper.lane.trajectories import Part, Span
from sweeper.study.book import Book


def refused(report: Report, book: Book) -> set[int]:
    """Reported runs that don't continue what is on disk: somebody else was there since.

    A report that arrives twice is not refused the second time, it says nothing new.
    """
    spans: dict[int, list[Span]] = {}
    for span in report.part.spans if report.part else ():
        spans.setdefault(span.run, []).append(span)
    ended = {run: int(result["steps"]) for run, result in report.done.items()}
    return {
        run
        for run, step in {**report.saved, **ended}.items()
        if book.is_open(run)
        and not is_known(report, run, book)
        and not book.continues(run, spans.get(run, ()), step, ended=run in ended)
    }


def is_known(report: Report, run: int, book: Book) -> bool:
    """Whether this report, with this row file, was taken before."""
    return report.row_file is not None and book.runs[run].row_file == report.row_file


def part_of(part: Part | None, runs: set[int]) -> Part | None:
    """A part with the spans of some runs only."""
    if part is None:
        return None
    return Part(part.path, tuple(span for span in part.spans if span.run in runs))
