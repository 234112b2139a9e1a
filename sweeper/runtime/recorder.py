"""The tracking process of a launch: started again when it dies, waited for at the end."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from sweeper.study.folder import Folder
from sweeper.tracking import process as tracker

_STALLED_S = 60.0
_STALLED_INTERRUPTED_S = 10.0
_STALLED_ERROR_S = 5.0  # an unreachable server says so at once: no need to wait for it for long
_BEGINS_S = 60.0
_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 60.0
# At the end, a process that dies this often without recording anything new is not started again.
_MAX_FRUITLESS = 5
# It came to its end, or it has said what the user has to mend.
_ENDED = (0, 2)


class Recorder:
    """Starts the tracking process of a sweep and looks after it.

    A process that dies is started again, at once where it had recorded something new, else after a
    delay that doubles. A sweep may take days: only at its end it is given up.
    """

    def __init__(self, folder: Folder, console: Console) -> None:
        self._folder, self._console = folder, console
        self._recorded = self._fruitless = 0  # the most so far; starts since there was more
        self._start()

    def keep_alive(self) -> bool:
        """Start the process again when it has died; False when it is over."""
        code = self._process.poll()
        if code is None:
            return True
        if code in _ENDED:
            return False
        if time.monotonic() > self._started + self._delay_s():
            self._start()
        return True

    def await_end(self, *, patient: bool) -> None:
        """Wait until everything is recorded, as long as there is progress."""
        moved, before = time.monotonic(), None
        limit = _STALLED_S if patient else _STALLED_INTERRUPTED_S
        self._fruitless = 0
        while self.keep_alive():
            state = self.progress()
            done = (state["begun"], state["recorded"], state["mirrored"], self._process.pid)
            if done != before:
                moved, before = time.monotonic(), done
            allowed = _STALLED_ERROR_S if state["error"] else limit
            is_alive = self._process.poll() is None
            is_stalled = time.monotonic() - moved > (allowed if state["begun"] else _BEGINS_S)
            if (is_alive and is_stalled) or self._fruitless > _MAX_FRUITLESS:
                self._give_up(state["recorded"], state["told"], state["error"] or "")
                return
            time.sleep(0.05)
        if self._process.returncode:
            log = self._folder.path / "tracker.log"
            code = self._process.returncode
            self._console.print(f"The MLflow tracker ended with code {code}: see {log}")

    def progress(self) -> dict[str, Any]:
        """What the process says, noted; see sweeper.tracking.process.read_progress."""
        state = tracker.read_progress(self._folder.path)
        done = state["recorded"] + (state["mirrored"] or 0)
        if done > self._recorded:
            self._recorded, self._fruitless = done, 0
        return state

    def _delay_s(self) -> float:
        """Seconds between the last start and the next one."""
        self.progress()
        delay_s: float = _FIRST_DELAY_S * 2 ** min(max(self._fruitless - 1, 0), 10)
        return min(delay_s, _LONGEST_DELAY_S)

    def _start(self) -> None:
        self._fruitless += 1
        self._started = time.monotonic()
        self._process = tracker.start(self._folder.path, self._folder.path / "tracker.log")

    def _give_up(self, recorded: int, told: int, error: str) -> None:
        self._process.terminate()
        self._process.wait()
        name, storage = self._folder.name, self._folder.path.parent
        self._console.print(
            f"MLflow has {recorded} of {told} trials; "
            f"`sweeper resume {name} --storage {storage}` records the rest. {error}",
            soft_wrap=True,
        )
