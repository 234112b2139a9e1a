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
        node: id of its node, where the runtime has such.
    """

    process: str
    lane: int
    host: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a lane tells.

    Args:
        who: the lane process.
        number: 1, 2, ... of the reports of this process; the same again is a repetition.
        held: step by run id of every run that the lane has.
        room: runs that it can take.
        done: result by run id of runs that ended.
        saved: step by run id of the rows in `row_file`.
        part: trajectories of runs in `done` and `saved`, up to those steps.
        rate: run-steps per second of the last chunk.
        capacity: slots.
        quiet_s: seconds without a report after which this process is to be taken for dead; it
            knows best, e.g. that it is about to compile.
        rungs: step and loss, by run id, of the rungs that runs in `held` have passed, all of them;
            where the lane is asked for that.
        stride: steps that a run of it makes at most until its next report.
        lost: runs whose row file can't be read: they have to start anew.
        leaving: this is its last report, it gives up what it held.
        trouble: what keeps it from reporting more, in words.
        waited_s: seconds in which its slots stood empty, times their share, as nobody had given
            it a run; since it began.
        lived_s: seconds since it began.
    """

    who: Identity
    number: int = 0
    held: Mapping[int, int] = field(default_factory=dict)
    room: int = 0
    done: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    saved: Mapping[int, int] = field(default_factory=dict)
    row_file: str | None = None
    part: Part | None = None
    rate: float = 0.0
    capacity: int = 0
    quiet_s: float = 60.0
    stride: int = 0
    lost: tuple[int, ...] = ()
    rungs: Mapping[int, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    leaving: bool = False
    trouble: str = ""
    waited_s: float = 0.0
    lived_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to train a run, from its start or from a row file.

    Args:
        run: what to train.
        row_file: where to go on; None is its start.
        is_suspect: its lane died with it: save often, to tell what gets ahead from what doesn't.
    """

    run: Run
    row_file: str | None = None
    is_suspect: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the study answers.

    Args:
        drop: runs that the lane must give up without reporting them.
        grant: runs to train.
        obsolete: row files that nobody needs any more.
        end: the sweep is over, or to be interrupted: save, report a last time and leave.
        gone: this process was given up and replaced: it must end and report nothing more.
        is_dry: the search has nothing more to give: what is empty now doesn't wait for it.
    """

    drop: tuple[int, ...] = ()
    grant: tuple[Grant, ...] = ()
    obsolete: tuple[str, ...] = ()
    end: bool = False
    gone: bool = False
    is_dry: bool = False


class StudyPort(Protocol):
    """The study as a lane sees it."""

    def sync(self, report: Report) -> Answer:
        """Exchange; blocks until the study has it on disk."""
        ...
