"""How many runs a pack should hold: measured, where more of them stop paying."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from sweeper.lane.pack import Machine, Pack
from sweeper.lane.run import Run
from sweeper.optim.configuration import Configuration
from sweeper.tasks.task import Task

# Beyond these a pack outgrows the caches (CPU) or has long filled the device (GPU).
_MOST = {"cpu": 64, "cuda": 1024}
_ANY_SIZE = 16
_ENOUGH = 0.9  # share of the best rate that a smaller pack must reach to be preferred
_MEASURE_S = 0.4


@dataclass(frozen=True, slots=True)
class Measurement:
    """Run-steps per second of a full pack of some capacity."""

    capacity: int
    rate: float


def ladder(useful: int, device: str, *, waves: bool = False) -> list[int]:
    """At most three capacities worth measuring, ascending.

    Large packs are powers of two: on x86 a matrix product of 51 columns takes as long as one of
    64, and one of 48 longer.

    Args:
        useful: runs that a lane will ever have at once.
        device: `cpu` or `cuda...`.
        waves: whether `useful` are all runs that there are: then the packs that they fill one
            after another are equally large, and none is left for a few runs.
    """
    most = _MOST[device.partition(":")[0]]
    top = math.ceil(useful / math.ceil(useful / most)) if waves else min(useful, most)
    if top > _ANY_SIZE:
        top = 2 ** (math.ceil(math.log2(top)) if waves else int(math.log2(top)))
    smaller = {2 ** int(math.log2(max(top / share, 1))) for share in (4, 16)}
    # Below four the time goes into starting steps, on any device.
    return sorted({top, *(max(size, min(top, 4)) for size in smaller)})


def measure(
    task: Task,
    typical: Configuration,
    capacities: list[int],
    machine: Machine,
    extras: frozenset[str] | None = None,
) -> list[Measurement]:
    """Train a full pack of each capacity for a moment, from the largest one down.

    Smaller ones are left out once one falls behind: they would fall behind further.
    """
    measured: list[Measurement] = []
    for capacity in sorted(capacities, reverse=True):
        measured.insert(0, Measurement(capacity, _rate(task, typical, capacity, machine, extras)))
        if choose(measured) != capacity:
            break
    return measured


def choose(measured: list[Measurement]) -> int:
    """The smallest capacity that comes near the best rate: small packs learn and refill sooner."""
    best = max(one.rate for one in measured)
    return next(one.capacity for one in measured if one.rate >= _ENOUGH * best)


def explain(chosen: int, measured: list[Measurement], limited_by: str) -> dict[str, Any]:
    """Which capacity was taken and why, in plain values."""
    rates = ", ".join(f"{one.capacity}: {one.rate:,.0f}/s" for one in measured)
    why = f"measured run-steps per second by slots: {rates}" if rates else "nothing to measure"
    return {"capacity": chosen, "why": f"{why}; {limited_by}"}


def _rate(
    task: Task,
    typical: Configuration,
    capacity: int,
    machine: Machine,
    extras: frozenset[str] | None,
) -> float:
    pack = Pack(task, typical.program, capacity, machine, extras=extras)
    config = {**typical.to_dict(), "lr": 1e-4}
    for index in range(capacity):
        pack.place(Run(index, index, config, 0, 1_000_000_000))
    steps = pack.sample_every
    pack.train(steps)  # compiles
    started = time.perf_counter()
    pack.train(steps)
    step_s = (time.perf_counter() - started) / steps
    times: list[float] = []
    deadline = time.perf_counter() + _MEASURE_S + step_s * steps
    while time.perf_counter() < deadline or len(times) < 3:
        started = time.perf_counter()
        pack.train(steps)
        times.append((time.perf_counter() - started) / steps)
    return capacity / median(times)
