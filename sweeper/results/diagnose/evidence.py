"""What is on record of the worst run of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.errors import SweepError, one_of
from sweeper.lane import trajectories
from sweeper.lane.run import Run
from sweeper.optim.array import Array
from sweeper.optim.catalog import SERIES
from sweeper.optim.configuration import Configuration, parse
from sweeper.ranking.evidence import Row
from sweeper.ranking.objective import worst_run
from sweeper.results.sweep import SweepHandle
from sweeper.spec import SweepSpec
from sweeper.stability import course
from sweeper.stability.threshold import threshold
from sweeper.study.database import STRESS, RunRow

Series = tuple[Array, Array]
"""Steps and values, those that are finite."""


@dataclass(frozen=True)
class Evidence:
    """One run and what it is compared with.

    Args:
        trial: its row of the ranking.
        run: the trial's worst one; of its stress test, where only that failed.
        result: of the run, as the study has it.
        loss: `[T]` of every step; NaN where it isn't finite.
        series: the other recorded series by name.
        peers: the other trials, in the order of the ranking.
    """

    spec: SweepSpec
    trial: Row
    run: Run
    is_stress: bool
    result: Mapping[str, Any]
    loss: Array
    series: Mapping[str, Series]
    peers: Sequence[Row]

    @property
    def configuration(self) -> Configuration:
        return parse(self.run.config)

    @property
    def onset(self) -> int | None:
        """The first step of the failure."""
        step = self.result.get("onset_step")
        return None if step is None else int(step)

    @property
    def probes(self) -> list[Mapping[str, Any]]:
        """Probes with a sharpness, by step."""
        return [one for one in self.result.get("probes") or () if one.get("sharpness")]

    def threshold(self, step: int) -> float:
        """The largest stable sharpness at a step; NaN for optimizers without one."""
        at = np.array([float(step)])
        return float(threshold(self.configuration, self.run.horizon, at)[0])

    def lr(self, step: int) -> float:
        """The learning rate of the update after so many steps."""
        at = np.array([float(step)])
        return float(course.learning_rate(self.configuration, self.run.horizon, at)[0])

    def values(self, name: str, first: int, stop: int) -> Array:
        """What is recorded of a series over steps from `first` to before `stop`."""
        if name not in self.series:
            return np.empty(0)
        steps, values = self.series[name]
        return values[(steps >= first) & (steps < stop)]

    def median(self, name: str, first: int, stop: int) -> float | None:
        """Of these values; None without any."""
        values = self.values(name, first, stop)
        return float(np.median(values)) if values.size else None

    def largest(self, name: str, first: int, stop: int) -> float | None:
        """Of these values; None without any."""
        values = self.values(name, first, stop)
        return float(values.max()) if values.size else None


def gather(handle: SweepHandle, trial: int | None = None) -> Evidence:
    """Read it.

    Args:
        trial: its number; default the first baseline, else what ranks first.

    Raises:
        SweepError: no such trial, none that has ended, or a file is gone.
    """
    ranking = handle.ranking()
    if not ranking:
        raise SweepError(f"no trial of {handle.name!r} has ended yet")
    row = _chosen(ranking, trial)
    chosen, is_stress = _worst(handle, int(row["trial"]))
    table = _table(handle, chosen)
    steps = table["step"].to_numpy()
    loss = np.full(chosen.step, np.nan)
    loss[steps] = table["loss"].to_numpy()
    series = {name: _known(steps, table[name].to_numpy()) for name in SERIES if name != "loss"}
    return Evidence(
        spec=handle.spec,
        trial=row,
        run=chosen.run,
        is_stress=is_stress,
        result=chosen.result or {},
        loss=loss,
        series={name: one for name, one in series.items() if one[0].size},
        peers=[one for one in ranking if one is not row],
    )


def _chosen(ranking: Sequence[Row], trial: int | None) -> Row:
    if trial is None:
        return next((row for row in ranking if row["origin"] == "baseline"), ranking[0])
    for row in ranking:
        if row["trial"] == trial:
            return row
    numbers = sorted(int(row["trial"]) for row in ranking)
    raise SweepError(
        f"there is no trial {trial} with a result",
        where="--trial",
        allowed=one_of(map(str, numbers)) if len(numbers) < 10 else f"0 to {numbers[-1]}",
    )


def _worst(handle: SweepHandle, number: int) -> tuple[RunRow, bool]:
    """The worst run of the search, or of the stress test where only there one failed."""
    with closing(handle.folder.database()) as database:
        tests = [
            one.number
            for one in database.trials()
            if one.origin == STRESS
            and one.stress
            and one.stress["of"] == number
            and one.stress["change"] is None
        ]
        rows = [row for row in database.runs([number]) if row.result]
        stress = [row for row in database.runs(tests) if row.result] if tests else []
    failed = [row for row in stress if (row.result or {})["failed"]]
    is_stress = bool(failed) and not any((row.result or {})["failed"] for row in rows)
    candidates = failed if is_stress else rows
    if not candidates:
        raise SweepError(f"no run of trial {number} has a result", where="--trial")
    return candidates[worst_run([row.result or {} for row in candidates])], is_stress


def _table(handle: SweepHandle, chosen: RunRow) -> Any:
    with closing(handle.folder.database()) as database:
        parts = database.parts([chosen.run.id])
    return trajectories.read(handle.folder.storage, parts, [*SERIES])


def _known(steps: Array, values: Array) -> Series:
    known = np.isfinite(values)
    return steps[known], values[known].astype(np.float64)
