"""SIGTERM as Ctrl-C: schedulers and preemption end a sweep the way a user does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """While inside, SIGTERM raises KeyboardInterrupt in the main thread.

    Elsewhere than in the main thread it does nothing: only that one can have handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def interrupts_at_boundaries() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C and SIGTERM back until the caller asks; yields what raises them then.

    Between two steps of a chunk a pack is ahead of its records: nothing may be saved there. A
    second signal interrupts at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    pending: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if pending:
            _interrupt(number, frame)
        pending.append(number)

    def check() -> None:
        if pending:
            raise KeyboardInterrupt

    before = {kind: signal.signal(kind, note) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
