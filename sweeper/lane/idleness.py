"""How long the slots of a lane stood empty as nobody had given it a run."""

from __future__ import annotations

import time
from collections.abc import Callable


class Idleness:
    """Slot-seconds as shares of a lane: half of the slots empty for two seconds are one second.

    Args:
        clock: seconds, monotonic.

    Attributes:
        waited_s: seconds in which slots stood empty, times their share of all slots.
        lived_s: seconds since the first note.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._empty = 0.0
        self.waited_s = self.lived_s = 0.0

    def note(self, empty: float) -> None:
        """From now on this share of the slots is empty and waits for runs.

        Args:
            empty: in [0, 1]; 0 also where there is nothing more to train.
        """
        now = self._clock()
        if self._since is not None:
            self.waited_s += self._empty * (now - self._since)
            self.lived_s += now - self._since
        self._since, self._empty = now, empty
