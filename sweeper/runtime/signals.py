"""SIGTERM as Ctrl-C: schedulers and preemption end a sweep the way a user does."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def signals_interrupt() -> Iterator[Callable[[], None]]:
    """While inside, Ctrl-C and SIGTERM raise KeyboardInterrupt in the main thread.

    Yields what raises it again when there was a signal: compiled code may swallow an exception
    that a handler raises within it. Elsewhere than in the main thread it does nothing: only that
    one can have handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    heard: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        heard.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if heard:
            raise KeyboardInterrupt

    with _handled(note):
        yield check


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
        del frame
        if pending:
            raise KeyboardInterrupt
        pending.append(number)

    def check() -> None:
        if pending:
            raise KeyboardInterrupt

    with _handled(note):
        yield check


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM go to a handler, and afterwards to whom they went before.

    Args:
        handler: calls no function that is written in Python.
    """
    # A handler may run within a compiled step, where torch would take its frame for one that is to
    # be compiled anew, and raise an error of its own: the sweep failed in place of being stopped.
    if "torch" in sys.modules:  # loading it takes seconds
        from sweeper.optim.compiler import leave_alone

        leave_alone(handler)
    before = {kind: signal.signal(kind, handler) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, one in before.items():
            signal.signal(kind, one)
