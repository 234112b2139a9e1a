"""A pack of one slot, whose run is trained by a loop of the user's own in a process of its own."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sweeper.errors import SweepError, nearest, one_of
from sweeper.lane.journal import Entry
from sweeper.lane.loop_process import LoopProcess
from sweeper.lane.pack import SAMPLE_EVERY, Machine
from sweeper.lane.run import Run
from sweeper.optim.arena import SavedRow
from sweeper.optim.catalog import SERIES
from sweeper.optim.configuration import Program, parse
from sweeper.tasks.registry import TaskName

# All own loops are one program: a lane trains one at a time, whatever its optimizer.
OWN_LOOP = Program("own loop")
# `train` comes back after this, so that a slow loop doesn't make its lane fall silent.
_PATIENCE_S = 1.0
_LOOK_S = 0.05
# Starts in a row without a step more: then the loop is at fault.
_STARTS = 3
_ROW = "loop"


class LostRunError(Exception):
    """What a run has made is lost: it must start anew.

    Args:
        run: its id.
    """

    def __init__(self, run: int) -> None:
        self.run = run
        super().__init__(f"run {run}")


class LoopPack:
    """One slot with the interface of a Pack, but `train` may make fewer steps than it is asked to.

    Args:
        task: an own loop by name: its process builds it anew.
        folder: of the loops of all runs.
        machine: whose device the loop is told, and whose dtype the series have.
        wanted: metrics that a run must have reported at its end.
        sample_every: steps between two values of everything but the loss.
    """

    capacity = 1

    def __init__(
        self,
        task: TaskName,
        folder: Path,
        machine: Machine,
        *,
        wanted: Collection[str] = (),
        sample_every: int = SAMPLE_EVERY,
    ) -> None:
        if task.name.startswith("__main__:"):
            raise SweepError(
                "an own loop in __main__ can't be imported by its process",
                where="task",
                cure="Name its module: my_script:train.",
            )
        self.task, self.machine, self.sample_every = task, machine, sample_every
        self._folder, self._wanted = folder.absolute(), tuple(wanted)
        self._child: LoopProcess | None = None
        self._leaving: list[LoopProcess] = []
        self._run: Run | None = None
        self._clear()

    def _clear(self) -> None:
        self._step = 0  # steps handed out
        self._longest = 0  # the most steps of one report
        self._metrics: dict[str, float] = {}
        self._starts = 0  # since the last step
        self._forget_told()

    def _forget_told(self) -> None:
        self._told: deque[Entry] = deque()  # not yet handed out
        self._reach = self._step  # steps told
        self._has_ended = False

    @property
    def free(self) -> int:
        return int(self._run is None)

    def runs(self) -> dict[int, int]:
        """Slot by run id."""
        return {} if self._run is None else {self._run.id: 0}

    def step_of(self, slot: int) -> int:
        """Steps of the run that were handed out."""
        del slot
        return self._step

    def seed_of(self, slot: int) -> int:
        del slot
        return self._held.seed

    @property
    def _held(self) -> Run:
        assert self._run is not None, "the slot is empty"
        return self._run

    def place(self, run: Run, row: SavedRow | None = None) -> int:
        """Take a run, from its start or from a saved row; its process starts with `train`."""
        assert self._run is None, "the slot is taken"
        self._run = run
        self._clear()
        if row is not None:
            state = json.loads(row[_ROW].numpy().tobytes())
            self._step, self._longest = state["step"], state["longest"]
            self._metrics = state["metrics"]
            self._forget_told()
        return 0

    def remove(self, slot: int) -> None:
        """Empty the slot; the loop is told to stop, and not waited for."""
        del slot
        self._dismiss()
        self._run = None

    def close(self) -> None:
        """End every process; what has been handed out can still be saved."""
        self._dismiss()
        while not self._are_gone():
            time.sleep(_LOOK_S)

    def _dismiss(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._leaving.append(self._child)
            self._child = None

    def _are_gone(self) -> bool:
        """Whether no process of an earlier run lives any more."""
        self._leaving = [one for one in self._leaving if not one.has_ended]
        return not self._leaving

    def row(self, slot: int) -> SavedRow:
        """The state of the run as plain tensors; the loop's own is in its folder."""
        del slot
        state = {"step": self._step, "longest": self._longest, "metrics": self._metrics}
        return {_ROW: torch.frombuffer(bytearray(json.dumps(state).encode()), dtype=torch.uint8)}

    def evaluate(self, slot: int) -> dict[str, float]:
        """The last value of every metric that was reported.

        Raises:
            SweepError: the run has come to its end without one that it must have.
        """
        del slot
        missing = [name for name in self._wanted if name not in self._metrics]
        if missing and self._has_ended:
            raise SweepError(
                f"the loop of {self.task.name} reported no metric {missing[0]!r}",
                where="objective",
                allowed=one_of(["robust_loss", *self._metrics]),
                cure=nearest(missing[0], self._metrics)
                or f"Report it: trial.report(step, loss=loss, {missing[0]}=...).",
            )
        return dict(self._metrics)

    def train(self, steps: int) -> np.ndarray:
        """Let the loop make `steps` steps, and hand out those of them that it makes in a second.

        Returns:
            `[made, S, 1]` in the order of SERIES, 0 to `steps` of them; NaN where nothing is
            known.

        Raises:
            LostRunError: what the run has made is lost.
            SweepError: the loop failed, or returned too early.
        """
        wanted = min(steps, self._held.horizon - self._step)
        deadline = time.monotonic() + _PATIENCE_S
        if self._child is not None:
            self._child.grant(self._step + wanted)
        while self._ready() < wanted and not self._is_broken():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            self._listen(left_s, self._step + wanted)
        return self._handed_out(min(wanted, self._ready()))

    def _ready(self) -> int:
        """Steps that can be handed out; the last one of a run when its loop has returned."""
        is_open = self._reach == self._held.horizon and not self._has_ended
        return self._reach - self._step - (is_open and not self._is_broken())

    def _is_broken(self) -> bool:
        """Whether the run turned non-finite: nothing follows."""
        return bool(self._told) and not math.isfinite(self._told[-1].loss)

    def _listen(self, wait_s: float, until: int) -> None:
        """Hear the loop's process; start it when there is none, after the one before has gone."""
        if self._child is None:
            if not self._are_gone():
                time.sleep(min(_LOOK_S, wait_s))
                return
            self._child = LoopProcess(self._order())
            self._child.grant(until)
        messages = self._child.receive(wait_s)
        if messages is None:
            self._start_again()
            return
        for kind, *values in messages:
            self._take(kind, values)

    def _order(self) -> dict[str, Any]:
        run = self._held
        return {
            "task": self.task.name,
            "args": {**self.task.args, **parse(run.config).variant.args},
            "config": dict(run.config),
            "seed": run.seed,
            "horizon": run.horizon,
            "device": self.machine.device,
            "folder": str(self._folder / str(run.id)),
            "step": self._step,
            "longest": self._longest,
        }

    def _take(self, kind: str, values: list[Any]) -> None:
        if kind == "steps":
            entry = Entry(*values)
            self._told.append(entry)
            self._reach = entry.stop
        elif kind == "ended":
            self._end(*values)
        elif kind == "lost":
            raise LostRunError(self._held.id)
        else:
            what, where, allowed, cure = values
            raise SweepError(what, where=where, allowed=allowed, cure=cure)

    def _end(self, metrics: dict[str, float]) -> None:
        """The loop has returned."""
        horizon = self._held.horizon
        if self._reach < horizon and not self._is_broken():
            raise SweepError(
                f"the loop of {self.task.name} returned after {self._reach} of {horizon} steps",
                where="task",
                cure="Let it go on until trial.should_stop, and report its last step too.",
            )
        self._has_ended = True
        if self._told:
            last = self._told.pop()
            self._told.append(replace(last, metrics={**last.metrics, **metrics}))
        self._dismiss()

    def _start_again(self) -> None:
        """The process ended without a word: it was killed, or native code crashed."""
        assert self._child is not None
        self._starts += 1
        ending = self._child.ending()
        self._child.kill()
        self._child = None
        if self._starts >= _STARTS:
            raise SweepError(
                f"the process of {self.task.name} ended with {ending}, {self._starts} times in a "
                f"row after {self._reach} of {self._held.horizon} steps",
                where="task",
            )
        self._forget_told()  # the next one tells it from the journal

    def _handed_out(self, count: int) -> np.ndarray:
        series = np.full((count, len(SERIES), 1), np.nan, self.machine.dtype)
        first, stop = self._step, self._step + count
        while self._told and self._told[0].first < stop:
            entry = self._told[0]
            begin, end = max(entry.first, first), min(entry.stop, stop)
            series[begin - first : end - first, 0] = entry.loss
            sampled = -(-begin // self.sample_every) * self.sample_every
            for name, value in entry.series.items():
                places = slice(sampled - first, max(end - first, 0), self.sample_every)
                series[places, SERIES.index(name)] = value
            if entry.stop > stop:
                break
            self._metrics.update(entry.metrics)
            self._longest = max(self._longest, entry.stop - entry.first)
            self._told.popleft()
        self._step = stop
        self._starts = 0 if count else self._starts
        return series
