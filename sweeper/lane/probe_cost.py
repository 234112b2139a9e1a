"""What probing costs: measured, as a share of the time in which a run trains."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from sweeper.lane.pack import SAMPLE_EVERY, Machine, Pack
from sweeper.lane.probing import Probing
from sweeper.lane.record import Record
from sweeper.lane.run import Run
from sweeper.optim.configuration import Configuration
from sweeper.stability.limits import Limits
from sweeper.tasks.task import Task

_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class ProbeCost:
    """Probes of a run, and the share of its training time that they cost."""

    probes: int
    share: float


def measure(
    task: Task,
    typical: Configuration,
    horizon: int,
    capacity: int,
    machine: Machine,
    extras: frozenset[str] | None = None,
) -> ProbeCost:
    """Train a full pack for a moment, and probe all of it as often as a run is probed.

    The steps are shorter than those of a lane, which records them too: the share is an upper one.
    """
    run = Run(0, 0, typical.to_dict(), 0, horizon)
    logs = [Record(run, task, Limits(), machine.eps, horizon).probes for _ in range(capacity)]
    steps = logs[0].steps if logs[0] is not None else ()
    if not steps:
        return ProbeCost(0, 0.0)
    pack = Pack(task, typical.program, capacity, machine, extras=extras)
    config = {**typical.to_dict(), "lr": 1e-4}
    slots = [pack.place(Run(i, i, config, 0, 1_000_000_000)) for i in range(capacity)]
    pack.train(SAMPLE_EVERY)  # compiles
    probing = Probing(task, capacity, machine)
    times, probe_s = [], 0.0
    for number in range(max(_ROUNDS, len(steps))):
        started = time.perf_counter()
        pack.train(5 * SAMPLE_EVERY)
        times.append((time.perf_counter() - started) / (5 * SAMPLE_EVERY))
        if number < len(steps):
            started = time.perf_counter()
            probing.take(pack, slots, [log for log in logs if log is not None])
            probing.flush()
            probe_s += time.perf_counter() - started
    return ProbeCost(len(steps), probe_s / (horizon * median(times)))
