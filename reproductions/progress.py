"""Progress as lines: what is being done, since when."""

from __future__ import annotations

import time


class Progress:
    """Prints one line per piece of work."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._start, self._quiet = time.monotonic(), quiet

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._start

    def say(self, what: str) -> None:
        """Say what begins now."""
        if not self._quiet:
            minutes, seconds = divmod(int(self.seconds), 60)
            print(f"[{minutes:2d}:{seconds:02d}] {what}", flush=True)
