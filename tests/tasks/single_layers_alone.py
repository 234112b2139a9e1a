"""A run by hand, in plain torch: what packs are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sweeper.lane.pack import Machine, Pack
from sweeper.lane.run import Run
from sweeper.optim.configuration import Program
from sweeper.tasks.parts import Part
from sweeper.tasks.task import Task

LR = 3e-3
EAGER64 = Machine("cpu", "float64", compiled=False)


@dataclass(frozen=True)
class Replay:
    """Losses of every step, and the model at the end."""

    losses: np.ndarray
    model: nn.Module


def alone(
    task: Task, seed: int, steps: int, dtype: torch.dtype = torch.float64, *, mixed: bool = False
) -> Replay:
    """With torch.optim.Adam, as the docstring of Task.step says."""
    model = task.initial(seed).to(dtype)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=LR)
    losses = []
    for step in range(steps):
        inputs, targets = (converted(part, dtype) for part in task.batch(seed, step))
        arguments = (inputs,) if isinstance(inputs, Tensor) else inputs
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=mixed)
        with task.step(seed, step), autocast:
            loss = task.loss(model(*arguments), targets)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Replay(np.array(losses), model)


def converted(part: Part, dtype: torch.dtype) -> Part:
    """Floating-point tensors in the dtype."""
    if isinstance(part, Tensor):
        return part.to(dtype) if part.is_floating_point() else part
    return tuple(one.to(dtype) if one.is_floating_point() else one for one in part)


def pack_of(task: Task, capacity: int, machine: Machine = EAGER64) -> Pack:
    return Pack(task, Program("adam"), capacity, machine)


def run_of(seed: int, horizon: int = 200, number: int = 0) -> Run:
    return Run(number, number, {"optimizer": "adam", "lr": LR}, seed, horizon)


def strangers(count: int, horizon: int = 200) -> list[Run]:
    """Runs with other settings and seeds, one of them blowing up to NaN."""
    runs = [
        Run(100 + i, 100 + i, {"lr": 1e-4 * 2**i, "eps": 10.0**-i}, 50 + i, horizon)
        for i in range(count)
    ]
    diverging = {"optimizer": "adamw", "lr": 1e6, "weight_decay": 1e6}
    return [Run(99, 99, diverging, 49, horizon), *runs][:count]


def losses_in(pack: Pack, run: Run, others: list[Run], slot: int, steps: int) -> np.ndarray:
    """The losses of a run in a slot, others in those before and after; the run stays there."""
    for other in others[:slot]:
        pack.place(other)
    assert pack.place(run) == slot
    for other in others[slot:]:
        pack.place(other)
    return pack.train(steps)[:, 0, slot].copy()
