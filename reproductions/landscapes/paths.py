"""Where runs of a task of two parameters go: their place after every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from reproductions.runs import Order, begin, packs
from sweeper.optim.configuration import Configuration, parse
from sweeper.tasks.task import Task


def follow(task: Task, orders: Sequence[Order]) -> np.ndarray:
    """Places `[runs, steps + 1, 2]` of runs of one horizon, in float64.

    Step 0 is the start. Not compiled: two parameters are too few for that to pay.
    """
    parsed = [parse(order.config) for order in orders]
    path = np.empty((len(orders), orders[0].horizon + 1, 2))
    for chosen in packs(orders, parsed):
        path[chosen] = _together(task, [orders[i] for i in chosen], [parsed[i] for i in chosen])
    return path


def _together(task: Task, orders: Sequence[Order], parsed: Sequence[Configuration]) -> np.ndarray:
    """Of one update rule."""
    steps = orders[0].horizon
    pack = begin(task, orders, parsed, dtype="float64", compiled=False, sample_every=1)
    slots = [pack.runs()[at] for at in range(len(orders))]
    path = np.empty((len(orders), steps + 1, 2))
    path[:, 0] = pack.arena.theta[slots]
    for step in range(1, steps + 1):
        pack.train(1)
        path[:, step] = pack.arena.theta[slots]
    return path


def heights(task: Task, places: np.ndarray) -> np.ndarray:
    """The surface without its noise at `[..., 2]`."""
    model, level = task.initial(0).double(), torch.zeros(1, 2, dtype=torch.float64)

    def height(place: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.func.functional_call(model, {"point": place}, (level,))
        return found[0]

    flat = torch.from_numpy(places.reshape(-1, 2)).double()
    found: np.ndarray = torch.func.vmap(height)(flat).numpy()
    return found.reshape(places.shape[:-1])


def cosines(path: np.ndarray) -> np.ndarray:
    """Between successive updates of `[T + 1, 2]`; left out where one is 0."""
    moves = np.diff(path, axis=0)
    lengths = np.linalg.norm(moves, axis=1)
    both = lengths[1:] * lengths[:-1]
    products = (moves[1:] * moves[:-1]).sum(1)
    kept: np.ndarray = products[both > 0] / both[both > 0]
    return kept


def first_below(loss: np.ndarray, level: float) -> int | None:
    """The first step below a level."""
    below = np.flatnonzero(loss < level)
    return int(below[0]) if below.size else None
