"""The process of an own loop, as the lane sees it: started, heard, told to stop, ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from sweeper.errors import SweepError
from sweeper.lane.wire import Wire

# Not `multiprocessing`: that runs the main module of this process once more. Not `-m`: sweeper may
# be found through the present sys.path alone.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from sweeper.lane.loop_child import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
# A loop that is told to stop may save a checkpoint.
_GRACE_S = 10.0
_CLOSED_S = 2.0


class LoopProcess:
    """A fresh process that trains one run.

    Args:
        order: what, see loop_child.Order; plain values.

    Raises:
        SweepError: arguments of the task that aren't plain.
    """

    def __init__(self, order: Mapping[str, Any]) -> None:
        try:
            json.dumps(order)
        except (TypeError, ValueError) as error:
            raise SweepError(
                f"the process of an own loop can't be told its arguments: {error}",
                where="task_args",
                allowed="numbers, texts, lists and mappings of them",
            ) from error
        ours, theirs = socket.socketpair()
        with theirs:
            handle = theirs.fileno()
            self._process = subprocess.Popen(  # noqa: S603 - this Python
                [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(handle), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=(handle,),
                env=_environment(),
                start_new_session=True,  # Ctrl-C is the lane's, which lets the loop save first
            )
        self._wire = Wire(ours)
        self._deadline: float | None = None
        self._send("order", dict(order))

    @property
    def pid(self) -> int:
        return self._process.pid

    def grant(self, until: int) -> None:
        """Let the loop report the steps before `until`."""
        self._send("grant", until)

    def receive(self, wait_s: float) -> list[list[Any]] | None:
        """What it says, see Wire.receive; None when it has ended."""
        return self._wire.receive(wait_s)

    def stop(self) -> None:
        """Tell it to stop; it has some seconds for that."""
        if self._deadline is None:
            self._deadline = time.monotonic() + _GRACE_S
            self._send("stop")

    @property
    def has_ended(self) -> bool:
        """Whether it has ended after `stop`; it is killed when it takes too long."""
        has_time = self._deadline is None or time.monotonic() < self._deadline
        if has_time and self._process.poll() is None:
            return False
        self.kill()
        return True

    def ending(self) -> str:
        """How it ended, of one that says nothing more."""
        try:
            code = self._process.wait(_CLOSED_S)
        except subprocess.TimeoutExpired:
            return "a socket that it closed"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End it at once, with the processes that it started."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._wire.close()

    def _send(self, kind: str, *values: object) -> None:
        with suppress(OSError):  # it has ended: `receive` tells
            self._wire.send(kind, *values)


def _environment() -> dict[str, str]:
    """As many threads as this process has; what the loop prints is on record at once."""
    threads = str(torch.get_num_threads())
    more = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **more}
