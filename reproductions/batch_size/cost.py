"""What an update and an epoch take, by batch size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from reproductions import page
from reproductions.batch_size.problem import FULL, SIZES, TASKS, named
from reproductions.progress import Progress
from reproductions.runs import UNIT, Order, begin
from reproductions.scale import Scale
from sweeper.lane.pack import Pack
from sweeper.optim.configuration import parse
from sweeper.tasks.task import Task

TITLE = "What an update and an epoch cost"
REPEATS, CHUNK = 200, UNIT
# Seconds after which no further turn of a task is begun.
_LONG_ENOUGH = 30.0


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
        progress.say(f"cost: {name}")
        found += _costs(name, [build(size) for size in SIZES], scale)
    return found


def _costs(name: str, tasks: Sequence[Task], scale: Scale) -> list[Cost]:
    """One run alone of each size, by turns: what others take of the machine is shared by all.

    The first turn is left out, as it compiles.
    """
    turns = scale.count(REPEATS)
    packs = [_start(task, (turns + 1) * CHUNK, scale) for task in tasks]
    taken = [[_timed(pack) for pack in packs]]
    while len(taken) <= turns and (len(taken) < 2 or _total(taken) < _LONG_ENOUGH * scale.factor):
        taken.append([_timed(pack) for pack in packs])
    warm = np.array(taken[1:]) / CHUNK
    fastest, median = warm.min(0).tolist(), np.median(warm, 0).tolist()
    return [
        Cost(name, size, update, middle, update * task.epoch_steps)
        for size, task, update, middle in zip(SIZES, tasks, fastest, median, strict=True)
    ]


def _start(task: Task, horizon: int, scale: Scale) -> Pack:
    order = Order({"optimizer": "sgd", "lr": 1e-3}, horizon)
    return begin(task, [order], [parse(order.config)], compiled=scale.compiled)


def _timed(pack: Pack) -> float:
    begun = time.perf_counter()
    pack.train(CHUNK)
    return time.perf_counter() - begun


def _total(taken: list[list[float]]) -> float:
    """Seconds of all turns but the first."""
    return sum(sum(turn) for turn in taken[1:])


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
of {CHUNK} updates, the sizes by turns, as the machine is shared; drawing the batches is included.

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
