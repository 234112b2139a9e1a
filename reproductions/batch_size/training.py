"""Runs of every batch size and lr, and where they stand: at equal epochs and at equal updates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from reproductions.batch_size.problem import FULL, SIZES, TASKS
from reproductions.divisor import top_eigenvalue
from reproductions.progress import Progress
from reproductions.runs import UNIT, Order, Outcome, train
from reproductions.scale import Scale
from reproductions.seeds import spread
from sweeper.tasks.layout import Form, Layout
from sweeper.tasks.task import Task

EPOCHS, UPDATES, SEEDS = 20, 1_800, 4
LRS = (0.1, 0.3, 1.0, 3.0)
TARGET = 0.05
_BUILD = TASKS["digits"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the runs of one size and lr stand after some updates; means over seeds.

    Args:
        updates: made; the median where runs made different numbers.
        loss: on the whole training set.
        accuracy, held_out_loss: on what is held out.
        spread: standard deviation of the accuracy between seeds.
        curvature: top eigenvalue of the Hessian on the whole training set.
        curvature_spread: standard deviation of the curvature between seeds.
    """

    size: int
    lr: float
    updates: int
    loss: float
    accuracy: float
    held_out_loss: float
    spread: float
    curvature: float
    curvature_spread: float


@dataclass(frozen=True, slots=True)
class Course:
    """What the runs of one size do with their best lr.

    Args:
        by_epochs, by_updates: after equal epochs and equal updates, each with the lr that has
            the lowest training loss there.
        at_target: when the loss is first below TARGET, with the lr that is there first; None
            where no lr takes every run there.
        curve: updates `[n]` and mean training loss `[n]`, with the lr of `by_updates`.
    """

    size: int
    by_epochs: Place
    by_updates: Place
    at_target: Place | None
    curve: tuple[np.ndarray, np.ndarray]


def measure(scale: Scale, progress: Progress) -> list[Course]:
    """Every size."""
    found = []
    for size in SIZES:
        progress.say(f"batch size {size}: {len(LRS)} lr")
        found.append(_course(size, scale))
    return found


def _course(size: int, scale: Scale) -> Course:
    task = _BUILD(size)
    epochs = scale.unit(scale.count(EPOCHS) * task.epoch_steps)
    updates = scale.unit(UPDATES * scale.factor)
    horizon = max(epochs, updates)
    looks = tuple(range(UNIT, horizon + 1, UNIT))
    orders = [
        Order({"optimizer": "sgd", "lr": lr}, horizon, seed, looks)
        for lr in LRS
        for seed in range(scale.count(SEEDS))
    ]
    outcomes = train(task, orders, compiled=scale.compiled)
    loss = full_loss(task)
    runs = {lr: [one for one in outcomes if one.order.config["lr"] == lr] for lr in LRS}
    by_updates = _after(size, runs, updates, loss)
    curve = [_mean(loss(one.rows[look]["theta"]) for one in runs[by_updates.lr]) for look in looks]
    return Course(
        size,
        _after(size, runs, epochs, loss),
        by_updates,
        _at_target(size, runs, loss),
        (np.array(looks), np.array(curve)),
    )


def full_loss(task: Task) -> Callable[[Tensor], float]:
    """theta `[P]` -> the loss on the whole training set."""
    model = task.initial(0)
    layout, (inputs, targets) = Layout.of(model), task.data

    def loss(theta: Tensor) -> float:
        with torch.no_grad():
            output = torch.func.functional_call(model, layout.unflatten(theta), (inputs,))
            return float(task.loss(output, targets))

    return loss


def _after(
    size: int, runs: dict[float, list[Outcome]], updates: int, loss: Callable[[Tensor], float]
) -> Place:
    """Of the lr with the lowest mean training loss then; one that isn't finite is highest."""
    losses = {lr: _mean(loss(o.rows[updates]["theta"]) for o in of) for lr, of in runs.items()}
    lr = min(losses, key=lambda one: losses[one])
    return _place(size, lr, [(updates, one.rows[updates]["theta"]) for one in runs[lr]], loss)


def _at_target(
    size: int, runs: dict[float, list[Outcome]], loss: Callable[[Tensor], float]
) -> Place | None:
    """Looked at every 20 updates."""
    steps = {lr: [_first_below(one, loss) for one in of] for lr, of in runs.items()}
    lr = min(steps, key=lambda one: float(np.mean(steps[one])))
    if not np.isfinite(steps[lr]).all():
        return None
    pairs = [
        (int(n), one.rows[int(n)]["theta"]) for n, one in zip(steps[lr], runs[lr], strict=True)
    ]
    return _place(size, lr, pairs, loss)


def _mean(values: Iterable[float]) -> float:
    """Inf where a value isn't finite."""
    found = float(np.mean(list(values)))
    return found if np.isfinite(found) else np.inf


def _place(
    size: int,
    lr: float,
    ends: Sequence[tuple[int, Tensor]],
    loss: Callable[[Tensor], float],
) -> Place:
    """Means over (updates, theta) of several seeds."""
    scores = [held_out(_BUILD(size), theta) for _, theta in ends]
    accuracy = np.array([one["held_out_accuracy"] for one in scores])
    whole = replace(_BUILD(FULL), batch_size=None)
    curvature = np.array([top_eigenvalue(whole, theta) for _, theta in ends])
    return Place(
        size,
        lr,
        int(np.median([updates for updates, _ in ends])),
        _mean(loss(theta) for _, theta in ends),
        float(accuracy.mean()),
        _mean(one["held_out_loss"] for one in scores),
        spread(accuracy),
        float(curvature.mean()),
        spread(curvature),
    )


def held_out(task: Task, theta: Tensor) -> dict[str, float]:
    """What the task says of the model with parameters theta `[P]`, on data held out."""
    model = task.initial(0)
    Form(Layout.of(model)).load(model, theta, {})
    assert task.evaluate is not None
    with torch.no_grad():
        return dict(task.evaluate(model.eval()))


def _first_below(run: Outcome, loss: Callable[[Tensor], float]) -> float:
    for step in sorted(run.rows):
        if loss(run.rows[step]["theta"]) < TARGET:
            return step
    return np.inf
