"""Ctrl-C and SIGTERM end a sweep, also where compiled code swallowed the exception."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType

import pytest
import torch

from sweeper.runtime import signals
from sweeper.runtime.signals import signals_interrupt

KINDS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_interrupts_and_what_was_swallowed_is_raised_again(kind: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in KINDS]
    with signals_interrupt() as check:
        check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), kind)
        with pytest.raises(KeyboardInterrupt):
            check()
    assert [signal.getsignal(one) for one in KINDS] == before


def test_elsewhere_than_in_the_main_thread_nothing_is_handled() -> None:
    found: list[object] = []

    def run() -> None:
        with signals_interrupt() as check, contextlib.suppress(ValueError):
            check()
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]


def test_a_signal_within_compiled_steps_is_noted() -> None:
    """700 of them: one of 20 comes where torch looks at every frame."""
    step = torch.compile(lambda x: x + 1, dynamic=False, fullgraph=True)
    step(torch.ones(1))
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    before = signal.getsignal(signal.SIGALRM)
    with signals._handled(note), torch.compiler.set_stance(skip_guard_eval_unsafe=True):
        signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
        try:
            while len(noted) < 700:
                step(torch.ones(1))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
