"""What an update and an epoch take, by batch size."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from reproductions import page
from reproductions.batch_size.problem import FULL, SIZES, TASKS, named
from reproductions.progress import Progress
from reproductions.scale import Scale
from sweeper.lane.pack import Pack
from sweeper.lane.run import Run
from sweeper.optim.arena import extras_of
from sweeper.optim.configuration import parse
from sweeper.tasks.task import Task
from sweeper.training import machine_for

TITLE = "What an update and an epoch cost"
REPEATS, CHUNK = 200, 20
# Seconds after which no further chunk is begun.
_LONG_ENOUGH = 10.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one task with one batch size, warm.

    Args:
        update: in the fastest chunk of updates: the machine is shared, and what others take of it
            only adds.
        median: over chunks.
        epoch: of as many updates as an epoch has.
    """

    task: str
    size: int
    update: float
    median: float
    epoch: float


def measure(scale: Scale, progress: Progress) -> list[Cost]:
    """Both tasks with every size."""
    found = []
    for name, build in TASKS.items():
        for size in SIZES:
            progress.say(f"cost: {name}, batch size {size}")
            found.append(_cost(name, build(size), size, scale))
    return found


def _cost(name: str, task: Task, size: int, scale: Scale) -> Cost:
    """Chunks of one run alone; the first is left out, as it compiles."""
    configuration = parse({"optimizer": "sgd", "lr": 1e-3})
    pack = Pack(
        task,
        configuration.program,
        1,
        machine_for("cpu", "float32", compiled=scale.compiled),
        extras=extras_of([configuration]),
        sample_every=CHUNK,
    )
    repeats = scale.count(REPEATS)
    pack.place(Run(0, 0, configuration.to_dict(), 0, (repeats + 1) * CHUNK))
    taken: list[float] = []
    enough = _LONG_ENOUGH * scale.factor / CHUNK
    while len(taken) <= repeats and (len(taken) < 2 or sum(taken[1:]) < enough):
        start = time.perf_counter()
        pack.train(CHUNK)
        taken.append((time.perf_counter() - start) / CHUNK)
    warm = np.array(taken[1:])
    update = float(warm.min())
    return Cost(name, size, update, float(np.median(warm)), update * task.epoch_steps)


def section(found: list[Cost]) -> str:
    """The section of the page."""
    head = ["", "batch size", "ms per update", "median chunk", "against the smallest",
            "samples of it", "ms per epoch"]  # fmt: skip
    rows = []
    for one in found:
        first = next(o for o in found if o.task == one.task)
        rows.append(
            [
                one.task,
                named(one.size),
                f"{1e3 * one.update:.2f}",
                f"{1e3 * one.median:.2f}",
                f"x {one.update / first.update:.1f}",
                f"x {one.size / first.size:.0f}",
                f"{1e3 * one.epoch:.0f}",
            ]
        )
    return f"""### {TITLE}

One run alone, SGD, on one core, compiled and warm: the fastest of up to {REPEATS} chunks
of {CHUNK} updates, as the machine is shared; drawing the batches is included.

{page.table(head, rows)}

{" ".join(_told(name, [o for o in found if o.task == name]) for name in TASKS)}

This is one core, not the graphics card of the lecture."""


def _told(name: str, costs: list[Cost]) -> str:
    """The two claims on one task."""
    small, full = costs[0], costs[-1]
    ratio, share = full.update / small.update, full.size / small.size
    *_, hardly = takewhile(lambda one: one.update < 2 * small.update, costs)
    return (
        f"On `{name}` the full batch takes {ratio:.1f} times as long per update for {share:.0f} "
        f"times the images. That a large batch costs hardly more (less than twice as much as "
        f"{small.size}) {_held(hardly.size, small.size)}. An epoch takes "
        f"{small.epoch / full.epoch:.1f} times as long in batches of {small.size} as in one."
    )


def _held(largest: int, smallest: int) -> str:
    if largest == FULL:
        return "holds for all sizes"
    if largest == smallest:
        return "is **not** seen for any"
    return f"holds for batches up to {largest}, not for the full one"
