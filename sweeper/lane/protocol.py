"""What a lane and the study say to each other: one idempotent call, `sync(Report) -> Answer`.

A lost answer is harmless: what was granted and isn't held is granted again, what was reported and
is known already is ignored. All values are plain data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part


@dataclass(frozen=True, slots=True)
class Identity:
    """A lane process: a restart of the same lane is somebody else.

    Args:
        process: unique id of this process.
        lane: index of the lane.
        host: where it runs.
    """

    process: str
    lane: int
    host: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a lane tells.

    Args:
        who: the lane process.
        held: step by run id of every run that the lane has.
        room: runs that it can take.
        done: result by run id of runs that ended.
        saved: step by run id of the rows in `row_file`.
        part: trajectories of runs in `done` and `saved`, up to those steps.
        rate: run-steps per second of the last chunk.
        capacity: slots.
    """

    who: Identity
    held: Mapping[int, int] = field(default_factory=dict)
    room: int = 0
    done: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    saved: Mapping[int, int] = field(default_factory=dict)
    row_file: str | None = None
    part: Part | None = None
    rate: float = 0.0
    capacity: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to train a run, from its start or from a row file."""

    run: Run
    row_file: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the study answers.

    Args:
        drop: runs that the lane must give up without reporting them.
        grant: runs to train.
        obsolete: row files that nobody needs any more.
        end: the sweep is over.
    """

    drop: tuple[int, ...] = ()
    grant: tuple[Grant, ...] = ()
    obsolete: tuple[str, ...] = ()
    end: bool = False


class StudyPort(Protocol):
    """The study as a lane sees it."""

    def sync(self, report: Report) -> Answer:
        """Exchange; blocks until the study has it on disk."""
        ...
