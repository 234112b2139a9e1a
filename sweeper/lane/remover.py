"""Removes files that nobody needs any more, beside the training: a storage may be slow at it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable

from sweeper.lane.storage import Storage

_END_S = 5.0


class Remover:
    """Of one lane. What isn't removed in the end is left to the next launch."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._paths: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def remove(self, paths: Iterable[str]) -> None:
        """Have files removed, soon."""
        for path in paths:
            self._paths.put(path)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="remover", daemon=True)
                self._thread.start()

    def end(self) -> None:
        """Wait for what has been asked for, not for long."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._paths.put(None)
            thread.join(_END_S)

    def _run(self) -> None:
        while (path := self._paths.get()) is not None:
            self._storage.remove(path)
