"""A storage that is away: when a lane asks it again for rows, and when it gives up."""

from __future__ import annotations

import time

from sweeper.errors import SweepError
from sweeper.lane.storage import AwayError, Storage, reason_of

_FIRST_S, _LONGEST_S = 0.5, 10.0


class Away:
    """Of one lane. Runs that wait for their rows stay the lane's own meanwhile.

    Args:
        storage: has the rows.
        patience_s: how long it may be away.

    Attributes:
        trouble: what keeps the lane from its rows, in words; empty where nothing does.
    """

    def __init__(self, storage: Storage, patience_s: float) -> None:
        self._storage, self._patience_s = storage, patience_s
        self.trouble = ""
        self._since = self._next = 0.0
        self._delay_s = _FIRST_S

    @property
    def is_due(self) -> bool:
        """Whether it is time to ask, for the first time or again."""
        return not self.trouble or time.monotonic() >= self._next

    def clear(self) -> None:
        """It has answered."""
        self.trouble, self._delay_s = "", _FIRST_S

    def note(self, error: AwayError) -> None:
        """It doesn't answer; raises SweepError when that has lasted for too long."""
        now = time.monotonic()
        if not self.trouble:
            self._since = now
        if now - self._since > self._patience_s:
            raise SweepError(
                f"can't read {self._storage.folder}: {reason_of(error)}",
                where=self._storage.key,
                cure="Mend that, then go on with `sweeper resume`: nothing is lost.",
            ) from error
        self.trouble = f"can't read: {reason_of(error)}"
        self._next = now + self._delay_s
        self._delay_s = min(2 * self._delay_s, _LONGEST_S)
