"""What a lane keeps of one run while it trains: verdict, thinned curve, unwritten trajectory."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweeper.lane.pack import SAMPLE_EVERY
from sweeper.lane.probe_log import ProbeLog
from sweeper.lane.run import Run
from sweeper.lane.trajectories import Piece
from sweeper.optim.catalog import SERIES
from sweeper.optim.configuration import parse
from sweeper.stability.limits import Limits
from sweeper.stability.verdict import RunFacts, Verdict
from sweeper.tasks.own_loop import OwnLoop
from sweeper.tasks.task import Task

SCHEMA = 1
_CURVE_POINTS = 40


class Record:
    """The record of one run. Feed it the series of every step once, in order.

    Args:
        eps: relative rounding of the run's dtype.
        stress_horizon: steps up to which forecasts look; None where the run isn't probed, as an
            own loop never is: its loss isn't known as a function of its parameters.
    """

    def __init__(
        self,
        run: Run,
        task: Task | OwnLoop,
        limits: Limits,
        eps: float,
        stress_horizon: int | None = None,
    ) -> None:
        configuration = parse(run.config)
        facts = RunFacts(
            horizon=run.horizon,
            warmup=configuration.schedule.warmup_steps(run.horizon),
            epoch_steps=task.epoch_steps,
            floor=task.floor(eps, 1.0),
        )
        self.run = run
        self.verdict = Verdict(facts, limits)
        self.probes: ProbeLog | None = None
        if stress_horizon is not None and not isinstance(task, OwnLoop):
            self.probes = ProbeLog(
                configuration, facts, stress_horizon, full_batch=task.batch_size is None
            )
        self.curve: list[list[float | None]] = []
        self.step = 0
        self.written = 0  # steps whose trajectory was handed over by `take_pending`
        self._pending: list[np.ndarray] = []
        self._marks = curve_steps(run.horizon)

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to train."""
        whole = self.step >= self.run.horizon
        return whole or not self.verdict.finite or self.verdict.hopeless

    def take(self, series: np.ndarray) -> None:
        """The next steps, `[n, S]`; what lies past the run's end, early or not, is left out."""
        series = series[: self.run.horizon - self.step]
        before = self.verdict.steps
        self.verdict.update(series[:, 0])
        # What ends a run early is on record, and nothing after it: chunks may be of any length.
        series = series[: self.verdict.steps - before + (not self.verdict.finite)]
        for mark in self._marks[
            np.isin(self._marks, np.arange(self.step, self.step + len(series)))
        ]:
            values = series[mark - self.step].tolist()
            if math.isfinite(values[0]):
                self.curve.append([int(mark), *(v if math.isfinite(v) else None for v in values)])
        self._pending.append(series)
        self.step += len(series)

    def take_pending(self) -> Piece:
        """The trajectory that was not yet taken; forgets it."""
        first, pending = self.written, self._pending
        self._pending, self.written = [], self.step
        series = np.concatenate(pending) if pending else np.empty((0, len(SERIES)))
        probes = self.probes.within(first, self.step) if self.probes else []
        return Piece(self.run.id, first, series, probes)

    def result(self) -> dict[str, Any]:
        """Verdict, probes and thinned curve in plain values."""
        probes = self.probes.result() if self.probes else {}
        return {**self.verdict.result(), **probes, "curve": self.curve}

    def save(self) -> dict[str, Tensor]:
        """The record as plain tensors, beside the row of the same step."""
        values, arrays = self.verdict.state()
        state = {"schema": SCHEMA, "step": self.step, "values": values, "curve": self.curve}
        if self.probes:
            state["probes"] = self.probes.found
        text = json.dumps(state)
        saved = {
            f"verdict.{name}": torch.from_numpy(array.copy()) for name, array in arrays.items()
        }
        if self.probes and self.probes.vector is not None:
            saved["probe.vector"] = self.probes.vector.cpu()
        saved["record"] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
        return saved

    def restore(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `save` gave; a record of a version without probes has none so far."""
        state = json.loads(saved["record"].numpy().tobytes())
        arrays = {
            name.removeprefix("verdict."): tensor.numpy()
            for name, tensor in saved.items()
            if name.startswith("verdict.")
        }
        self.verdict.restore(state["values"], arrays)
        self.step = self.written = state["step"]
        self.curve = state["curve"]
        if self.probes:
            self.probes.restore(state.get("probes", ()), saved.get("probe.vector"))


def curve_steps(horizon: int) -> np.ndarray:
    """Log-spaced steps of a thinned curve: 0, the last one and about 40 between, ascending.

    From the first sample of the statistics on, they are steps that have statistics.
    """
    spaced = np.geomspace(1, max(horizon - 1, 1), _CURVE_POINTS).round().astype(np.int64)
    spaced = np.where(spaced < SAMPLE_EVERY, spaced, spaced // SAMPLE_EVERY * SAMPLE_EVERY)
    return np.unique(np.concatenate([[0], spaced, [horizon - 1]]))
