"""CPU time and memory of the processes of a sweep, from outside, while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

import psutil

_EVERY_S = 1.0
KINDS = ("driver", "study", "tracker", "lanes", "ray")


@dataclass(slots=True)
class Seen:
    """What one kind of process has come to.

    Args:
        cpu_s: seconds by process.
        rss_mb: resident memory, all of them together, with the moment: what `mark` said then.
    """

    cpu_s: dict[tuple[int, float], float] = field(default_factory=dict)
    rss_mb: list[tuple[float, float]] = field(default_factory=list)

    @property
    def total_s(self) -> float:
        """CPU seconds of all processes of the kind."""
        return sum(self.cpu_s.values())


class Watch:
    """A context manager that looks at this process and its children once a second.

    Args:
        mark: says how far the sweep is; None while it isn't there.
    """

    def __init__(self, mark: Callable[[], float | None]) -> None:
        self._mark = mark
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._me = psutil.Process()
        self.seen = {kind: Seen() for kind in KINDS}

    def __enter__(self) -> Watch:
        self._before_s = sum(self._me.cpu_times()[:2])
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        mark = self._mark()
        rss_mb = dict.fromkeys(KINDS, 0.0)
        for process in (self._me, *self._me.children(recursive=True)):
            with suppress(psutil.Error):
                kind = self._kind(process)
                cpu_s = sum(process.cpu_times()[:2])
                cpu_s -= self._before_s if process == self._me else 0.0
                self.seen[kind].cpu_s[process.pid, process.create_time()] = cpu_s
                rss_mb[kind] += process.memory_info().rss / 2**20
        if mark is not None:
            for kind, value in rss_mb.items():
                self.seen[kind].rss_mb.append((mark, value))

    def _kind(self, process: psutil.Process) -> str:
        if process == self._me:
            return "driver"
        title = " ".join(process.cmdline())
        if title.startswith("ray::StudyActor"):
            return "study"
        if title.startswith("ray::") and "Trainable" in title:
            return "lanes"
        return "tracker" if "sweeper.tracking" in title else "ray"
