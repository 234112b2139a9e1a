"""The process of an own loop: one run, trained by the user's function, told to the lane."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.errors import SweepError
from sweeper.lane.loop_folder import LoopFolder, LostError
from sweeper.lane.reports import Reports, Stopped
from sweeper.lane.trial import Trial
from sweeper.lane.wire import Wire
from sweeper.tasks.importing import told
from sweeper.tasks.own_loop import OwnLoop
from sweeper.tasks.randomness import seed_everything
from sweeper.tasks.registry import TaskName

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to train.

    Args:
        task: of which `args` are the arguments.
        config, seed, horizon: of the run.
        device: where.
        folder: of the run.
        step: steps that the lane has on record.
        longest: the most steps that one report covered.
    """

    task: str
    args: Mapping[str, Any]
    config: Mapping[str, Any]
    seed: int
    horizon: int
    device: str
    folder: str
    step: int
    longest: int

    @property
    def run(self) -> str:
        """What the run is: a folder of another one is none of its own."""
        parts = [self.task, self.args, self.config, self.seed, self.horizon]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def main(handle: int, parent: int) -> None:
    """Train the run that the lane orders.

    Args:
        handle: of the socket to the lane.
        parent: the lane's process, which this one doesn't outlive.
    """
    _die_with(parent)
    wire = Wire(socket.socket(fileno=handle))
    messages: list[list[Any]] = []
    while not messages:
        messages = _received(wire)
    order = Order(**messages[0][1])
    try:
        metrics = _train(order, wire, messages[1:])
    except LostError:
        wire.send("lost")
    except SweepError as error:
        wire.send("failed", error.what, error.where, error.allowed, error.cure)
    except Exception as error:
        wire.send("failed", told(error), "task", "", "")
    else:
        wire.send("ended", metrics)


def _train(order: Order, wire: Wire, messages: list[list[Any]]) -> dict[str, float]:
    """Train the run; its metrics, as far as the loop returns some."""
    loop = TaskName(order.task, order.args).load()
    assert isinstance(loop, OwnLoop)
    folder = LoopFolder(Path(order.folder))
    journal, entries = folder.journal(order.run, order.step)
    for entry in entries:
        wire.send("steps", *entry.to_list())
    reports = Reports(
        wire,
        journal,
        horizon=order.horizon,
        known=entries[-1].stop if entries else order.step,
        longest=max([order.longest, *(one.stop - one.first for one in journal.entries)]),
    )
    journal.entries.clear()
    threading.Thread(target=_listen, args=(wire, reports, messages), daemon=True).start()
    trial = Trial(
        order.config,
        seed=order.seed,
        horizon=order.horizon,
        device=order.device,
        folder=folder.path,
        reports=reports,
    )
    seed_everything(order.seed)  # a script that forgets to seed repeats itself all the same
    try:
        metrics = _metrics(loop.train(trial))
        if not journal.is_new:
            reports.check_end()
        return metrics
    except (Stopped, SystemExit):
        return {}
    except LostError:
        folder.empty()
        raise
    except Exception as error:
        if reports.has_raised:  # what a library made of it
            return {}
        if isinstance(error, SweepError):
            raise
        step = f"after {reports.known} of {order.horizon} steps"
        raise SweepError(f"the loop failed {step}: {told(error)}", where="task") from error


def _metrics(returned: object) -> dict[str, float]:
    if not isinstance(returned, Mapping):
        return {}
    try:
        return {str(name): float(value) for name, value in returned.items()}
    except (TypeError, ValueError) as error:
        raise SweepError(
            f"the loop returned {returned!r}", where="task", allowed="metrics by name, or nothing"
        ) from error


def _listen(wire: Wire, reports: Reports, messages: list[list[Any]]) -> None:
    """Obey the lane, in a thread of its own: the loop may be busy for long."""
    while True:
        for kind, *values in messages:
            if kind == "grant":
                reports.grant(*values)
            else:
                reports.stop()
        messages = _received(wire)


def _received(wire: Wire) -> list[list[Any]]:
    """The next messages; without a lane there is nothing more to do."""
    messages = wire.receive()
    if messages is None:
        os._exit(1)
    return messages


def _die_with(parent: int) -> None:
    """Let the kernel end this process with the lane: an orphan would train on."""
    with suppress(OSError, AttributeError):  # Linux alone has it; elsewhere the socket tells
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
