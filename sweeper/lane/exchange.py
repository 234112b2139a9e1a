"""What a lane sends to the study: its files first, then the report that names them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from sweeper.errors import SweepError
from sweeper.lane import rows, trajectories
from sweeper.lane.protocol import Answer, Report, StudyPort
from sweeper.lane.storage import Storage
from sweeper.lane.trajectories import Piece

_LONGEST_DELAY_S = 5.0
_LEAVING_PATIENCE_S = 5.0


@dataclass(slots=True)
class Parcel:
    """What one exchange carries: trajectories and rows still to be written, results."""

    done: dict[int, dict[str, Any]] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    saves: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    saved: dict[int, int] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)


class Exchange:
    """Sends parcels, one after another; a storage that fails now and then is waited out.

    Args:
        study: gets the reports.
        storage: gets the files.
        process: names them.
        patience_s: how long the storage may fail.
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
        deadline, delay = time.monotonic() + patience_s, 0.1
        while True:
            try:
                return self._send(parcel, report, drop)
            except OSError as error:
                reason = error.strerror or str(error)
            if time.monotonic() > deadline:
                if report.leaving:  # the last row files are what the sweep goes on from
                    return self._send(Parcel(), replace(report, trouble=reason), drop)
                raise SweepError(
                    f"can't write to {self._storage.folder}: {reason}",
                    where="storage",
                    cure="Mend that, then go on with `sweeper resume`: nothing is lost.",
                )
            answer = self._live_on(parcel, report, f"can't write: {reason}")
            drop += answer.drop
            if not report.leaving and (answer.end or answer.gone):
                return replace(answer, drop=drop)
            time.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY_S)

    def _send(self, parcel: Parcel, report: Report, drop: tuple[int, ...]) -> Answer:
        number = self._number + 1
        name = f"{self._process}-{number:06d}"
        part = trajectories.write_part(self._storage, name, parcel.pieces)
        row_file = rows.write_rows(self._storage, name, parcel.saves) if parcel.saves else None
        self._number = number
        answer = self._study.sync(
            replace(
                report,
                number=number,
                done=parcel.done,
                saved=parcel.saved,
                lost=tuple(parcel.lost),
                row_file=row_file,
                part=part,
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
