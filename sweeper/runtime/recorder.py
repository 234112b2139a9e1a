"""The tracking process of a launch: started again when it dies, waited for at the end."""

from __future__ import annotations

import time

from rich.console import Console

from sweeper.study.folder import Folder
from sweeper.tracking import process as tracker

_STALLED_S = 60.0
_STALLED_INTERRUPTED_S = 10.0
_STALLED_ERROR_S = 5.0  # an unreachable server says so at once: no need to wait for it for long
_BEGINS_S = 60.0
_LONGEST_DELAY_S = 60.0
_MAX_STARTS = 20
# It came to its end, or it has said what the user has to mend.
_ENDED = (0, 2)


class Recorder:
    """Starts the tracking process of a sweep and looks after it."""

    def __init__(self, folder: Folder, console: Console) -> None:
        self._folder, self._console = folder, console
        self._starts, self._delay_s = 0, 1.0
        self._start()

    def keep_alive(self) -> bool:
        """Start the process again when it has died; False when it is over."""
        code = self._process.poll()
        if code is None:
            return True
        if code in _ENDED or self._starts >= _MAX_STARTS:
            return False
        if time.monotonic() - self._started > self._delay_s:
            self._delay_s = min(2 * self._delay_s, _LONGEST_DELAY_S)
            self._start()
        return True

    def await_end(self, *, patient: bool) -> None:
        """Wait until everything is recorded, as long as there is progress."""
        moved, before = time.monotonic(), None
        limit = _STALLED_S if patient else _STALLED_INTERRUPTED_S
        while self.keep_alive():
            state = tracker.read_progress(self._folder.path)
            done = (state["begun"], state["recorded"], state["mirrored"])
            if done != before:
                moved, before = time.monotonic(), done
            allowed = _STALLED_ERROR_S if state["error"] else limit
            if time.monotonic() - moved > (allowed if state["begun"] else _BEGINS_S):
                self._give_up(state["recorded"], state["told"], state["error"] or "")
                return
            time.sleep(0.05)
        if self._process.returncode:
            log = self._folder.path / "tracker.log"
            code = self._process.returncode
            self._console.print(f"The MLflow tracker ended with code {code}: see {log}")

    def _start(self) -> None:
        self._starts += 1
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
