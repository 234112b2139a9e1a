"""Runs with their whole loss curve, their verdict and their state at chosen steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.lane.pack import Pack
from sweeper.lane.run import Run
from sweeper.optim.arena import SavedRow, extras_of
from sweeper.optim.configuration import Configuration, parse
from sweeper.stability.limits import Limits
from sweeper.stability.rolling import streak_lengths
from sweeper.stability.verdict import RunFacts, Verdict
from sweeper.tasks.task import Task
from sweeper.training import machine_for

# Steps between two samples of the statistics, which aren't used here; lengths are multiples of it.
UNIT = 20
_MOST_SLOTS = 64


@dataclass(frozen=True, slots=True)
class Order:
    """A run to be made.

    Args:
        config: as the user writes it.
        horizon: steps to make.
        seed: of initial parameters and batches.
        looks: of these steps, those after which its state is kept, multiples of UNIT.
        start: state to go on from, with the batches of `seed`; None for a fresh start.
    """

    config: Mapping[str, Any]
    horizon: int
    seed: int = 0
    looks: tuple[int, ...] = ()
    start: SavedRow | None = None

    @property
    def made(self) -> int:
        """Steps made before."""
        return 0 if self.start is None else int(self.start["step"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that was made.

    Args:
        loss: `[T]` float64, NaN from the first non-finite loss on.
        verdict: see sweeper.stability.verdict.
        rows: state by number of updates made.
        metrics: of the task's `evaluate` at the end; none where the loss is not finite.
    """

    order: Order
    configuration: Configuration
    loss: np.ndarray
    verdict: dict[str, Any]
    rows: dict[int, SavedRow]
    metrics: dict[str, float]

    @property
    def failed(self) -> bool:
        return bool(self.verdict["failed"])


def train(
    task: Task, orders: Sequence[Order], *, dtype: str = "float32", compiled: bool = True
) -> list[Outcome]:
    """Make runs, packed by update rule and horizon; outcomes in the order of `orders`."""
    parsed = [parse(order.config) for order in orders]
    found: dict[int, Outcome] = {}
    for chosen in packs(orders, parsed):
        part = [orders[i] for i in chosen]
        configurations = [parsed[i] for i in chosen]
        pack = begin(task, part, configurations, dtype=dtype, compiled=compiled)
        losses, rows = _train(pack, part)
        for at, i in enumerate(chosen):
            loss = _until_non_finite(losses[:, at])
            verdict = judge(task, configurations[at], loss, dtype)
            metrics = pack.evaluate(pack.runs()[at]) if np.isfinite(loss).all() else {}
            found[i] = Outcome(orders[i], configurations[at], loss, verdict, rows[at], metrics)
    return [found[i] for i in range(len(orders))]


def judge(
    task: Task, configuration: Configuration, loss: np.ndarray, dtype: str = "float32"
) -> dict[str, Any]:
    """The verdict on a whole run."""
    facts = RunFacts(
        horizon=loss.size,
        warmup=configuration.schedule.warmup_steps(loss.size),
        epoch_steps=task.epoch_steps,
        floor=task.floor(machine_for("cpu", dtype, compiled=False).eps, 1.0),
    )
    verdict = Verdict(facts, Limits())
    verdict.update(loss)
    return verdict.result()


def rise(loss: np.ndarray, level: float = 1e-8, settled: int = 100) -> int | None:
    """The first step above a level after `settled` steps in a row below it."""
    below = np.flatnonzero(streak_lengths(loss < level, 0) >= settled)
    if not below.size:
        return None
    above = np.flatnonzero(~(loss[below[0] :] <= level))
    return int(below[0] + above[0]) if above.size else None


def packs(orders: Sequence[Order], parsed: Sequence[Configuration]) -> Iterator[list[int]]:
    """Indices of the runs that are trained together: of one update rule and horizon."""
    kinds: dict[Any, list[int]] = {}
    for i, (order, configuration) in enumerate(zip(orders, parsed, strict=True)):
        kinds.setdefault((configuration.program, order.horizon), []).append(i)
    for members in kinds.values():
        for first in range(0, len(members), _MOST_SLOTS):
            yield members[first : first + _MOST_SLOTS]


def begin(
    task: Task,
    orders: Sequence[Order],
    configurations: Sequence[Configuration],
    *,
    dtype: str = "float32",
    compiled: bool = True,
    sample_every: int = UNIT,
) -> Pack:
    """A pack of runs of one update rule, each at its beginning; slots in the order of `orders`."""
    # Few capacities, so that compiled code is found again.
    capacity = next(k for k in (1, 4, 16, 32, _MOST_SLOTS) if k >= len(orders))
    pack = Pack(
        task,
        configurations[0].program,
        capacity,
        machine_for("cpu", dtype, compiled=compiled),
        extras=extras_of(configurations),
        sample_every=sample_every,
    )
    for i, (order, configuration) in enumerate(zip(orders, configurations, strict=True)):
        until = order.made + order.horizon
        pack.place(Run(i, i, configuration.to_dict(), order.seed, until), order.start)
    return pack


def _train(pack: Pack, orders: Sequence[Order]) -> tuple[np.ndarray, list[dict[int, SavedRow]]]:
    """Losses `[T, runs]` and kept states of runs of one horizon."""
    horizon, slots = orders[0].horizon, pack.runs()
    rows: list[dict[int, SavedRow]] = [{} for _ in orders]
    losses = np.empty((horizon, len(orders)))
    looks = {look for order in orders for look in order.looks if look < horizon}
    stops = sorted({*looks, *range(1000, horizon, 1000), horizon})
    for start, stop in zip([0, *stops], stops, strict=False):
        chunk = pack.train(stop - start)[:, 0]
        for i, order in enumerate(orders):
            losses[start:stop, i] = chunk[:, slots[i]]
            if stop in order.looks:
                rows[i][stop] = pack.row(slots[i])
    return losses, rows


def _until_non_finite(loss: np.ndarray) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(loss))
    return np.where(np.arange(loss.size) < bad[0], loss, np.nan) if bad.size else loss.copy()
