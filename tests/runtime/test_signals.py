"""Ctrl-C and SIGTERM end a sweep, also where compiled code swallowed the exception."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest

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
