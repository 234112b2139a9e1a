"""What a lane sends to the study: its files first, then the report that names them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from sweeper.errors import SweepError
from sweeper.lane import rows, trajectories
from sweeper.lane.protocol import Answer, Report, StudyPort
from sweeper.lane.storage import Storage, reason_of
from sweeper.lane.trajectories import Part, Piece

_LONGEST_DELAY_S = 5.0
_LEAVING_PATIENCE_S = 5.0
# A write that takes longer is said to the study, which would take the lane for dead else.
_SLOW_S = 5.0


@dataclass(slots=True)
class Parcel:
    """What one exchange carries: trajectories and rows still to be written, results."""

    done: dict[int, dict[str, Any]] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    saves: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    saved: dict[int, int] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a parcel."""

    part: Part | None = None
    row_file: str | None = None


_NOTHING = Written()


class Exchange:
    """Sends parcels, one after another; a storage that is slow or fails is waited out.

    Args:
        study: gets the reports.
        storage: gets the files.
        process: names them.
        patience_s: how long the storage may fail, or one write take.
    """

    def __init__(
        self, study: StudyPort, storage: Storage, process: str, patience_s: float
    ) -> None:
        self._study, self._storage, self._process = study, storage, process
        self._patience_s = patience_s
        self._number = 0

    def send(self, parcel: Parcel, report: Report) -> Answer:
        """Write the parcel's files, then report them; the report has everything else already.

        Raises:
            SweepError: the storage has failed for too long.
        """
        drop: tuple[int, ...] = ()
        patience_s = _LEAVING_PATIENCE_S if report.leaving else self._patience_s
        started, delay = time.monotonic(), 0.1
        writing = self._write(parcel)
        while True:
            wait([writing], _SLOW_S)
            if writing.done() and writing.exception() is None:
                return self._report(parcel, report, writing.result(), drop)
            reason, passed_s = _reason(writing), time.monotonic() - started
            # What is slow may still come, which is worth more than to leave in time.
            if passed_s > (patience_s if writing.done() else self._patience_s):
                if report.leaving:  # the last row files are what the sweep goes on from
                    return self._report(Parcel(), replace(report, trouble=reason), _NOTHING, drop)
                raise SweepError(
                    f"can't write to {self._storage.folder}: {reason}",
                    where=self._storage.key,
                    cure="Mend that, then go on with `sweeper resume`: nothing is lost.",
                )
            answer = self._live_on(parcel, report, f"can't write: {reason}")
            drop += answer.drop
            if not report.leaving and (answer.end or answer.gone):
                return replace(answer, drop=drop)
            if writing.done():
                time.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY_S)
                writing = self._write(parcel)

    def _write(self, parcel: Parcel) -> Future[Written]:
        name = f"{self._process}-{self._number + 1:06d}"

        def write() -> Written:
            part = trajectories.write_part(self._storage, name, parcel.pieces)
            row_file = rows.write_rows(self._storage, name, parcel.saves) if parcel.saves else None
            return Written(part, row_file)

        return _in_thread(write)

    def _report(
        self, parcel: Parcel, report: Report, written: Written, drop: tuple[int, ...]
    ) -> Answer:
        self._number += 1
        answer = self._study.sync(
            replace(
                report,
                number=self._number,
                done=parcel.done,
                saved=parcel.saved,
                lost=tuple(parcel.lost),
                row_file=written.row_file,
                part=written.part,
            )
        )
        return replace(answer, drop=drop + answer.drop)

    def _live_on(self, parcel: Parcel, report: Report, trouble: str) -> Answer:
        """Keep the leases, also of what has ended and can't be reported yet."""
        self._number += 1
        ended = {run: int(result["steps"]) for run, result in parcel.done.items()}
        held = {**report.held, **ended}
        return self._study.sync(
            replace(report, number=self._number, held=held, room=0, leaving=False, trouble=trouble)
        )


def _reason(writing: Future[Written]) -> str:
    """Why files aren't written; raises what is no fault of the storage."""
    if not writing.done():
        return "it takes very long"
    error = writing.exception()
    assert error is not None
    if not isinstance(error, OSError):
        raise error
    return reason_of(error)


def _in_thread(action: Callable[[], Written]) -> Future[Written]:
    """Do it in a thread that the end of the process doesn't wait for: a file system may hang."""
    future: Future[Written] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="files", daemon=True).start()
    return future
