"""The hours of a sweep: what it has spent in all its launches, and when its study was deaf."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Hours:
    """Time as a study counts it.

    Args:
        clock: seconds, monotonic.
        spent_s: seconds that were spent by earlier studies.
    """

    def __init__(self, clock: Callable[[], float], spent_s: float) -> None:
        self._clock, self._spent_s, self._deaf_s = clock, spent_s, 0.0
        self._began = clock()

    def spent(self) -> float:
        """Seconds that the sweep has taken."""
        return self._spent_s + self._clock() - self._began

    def listening(self) -> float:
        """A clock that stands while lanes have to wait for the study: nobody is silent then."""
        return self._clock() - self._deaf_s

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """While the study waits for its database, it hears nobody."""
        began = self._clock()
        try:
            yield
        finally:
            self._deaf_s += self._clock() - began
