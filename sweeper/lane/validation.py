"""What packing does to a task: the same losses as alone, and so many run-steps a second."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sweeper.lane import capacity
from sweeper.lane.capacity import Measurement
from sweeper.lane.memory import one_thread
from sweeper.lane.pack import Machine, Pack
from sweeper.lane.run import Run
from sweeper.optim.configuration import Configuration
from sweeper.optim.own_loop import make_optimizer
from sweeper.tasks.examine import examine
from sweeper.tasks.layout import Form
from sweeper.tasks.parts import moved
from sweeper.tasks.registry import TaskName
from sweeper.tasks.task import Task

_SEEDS = (0, 1)
_HORIZON = 1_000_000
_TIMED_S = 1.0


@dataclass(frozen=True, slots=True)
class Validation:
    """What was found.

    Args:
        form: of the model.
        losses_alone, losses_packed: `[steps, 2]`, runs of the seeds 0 and 1.
        gap: largest difference of the two, as a share of the loss.
        alone: steps per second of one run in a plain loop of torch, uncompiled.
        packed: run-steps per second by slots.
    """

    form: Form
    losses_alone: np.ndarray
    losses_packed: np.ndarray
    gap: float
    alone: float
    packed: list[Measurement]

    @property
    def knee(self) -> int:
        """Slots from which on more of them buy little."""
        return capacity.choose(self.packed)


def validate(
    name: TaskName,
    configuration: Configuration,
    machine: Machine,
    *,
    steps: int = 20,
    slots: Sequence[int] = (1, 4, 16, 64),
) -> Validation:
    """Train two runs a few steps alone and packed; measure what packing buys.

    Raises:
        SweepError: the task can't be built, fails on its data, or can't be packed.
    """
    with one_thread():
        return _validate(name, configuration, machine, steps, slots)


def _validate(
    name: TaskName,
    configuration: Configuration,
    machine: Machine,
    steps: int,
    slots: Sequence[int],
) -> Validation:
    task = name.build()
    form = examine(task, machine.device, machine.torch_dtype)
    alone = np.stack([_alone(task, configuration, s, machine, steps) for s in _SEEDS], axis=1)
    packed = _packed(task, configuration, machine, steps)
    gap = float(np.max(np.abs(packed - alone) / np.maximum(np.abs(alone), 1e-30)))
    rate = _rate_alone(task, configuration, machine)
    rates = capacity.measure(task, configuration, list(slots), machine)
    return Validation(form, alone, packed, gap, rate, rates)


def _alone(
    task: Task, configuration: Configuration, seed: int, machine: Machine, steps: int
) -> np.ndarray:
    """The losses of a run as anybody would train it with torch, `[steps]`."""
    device, dtype = machine.torch_device, machine.torch_dtype
    model = task.initial(seed).to(device, dtype)
    optimizer, scheduler = make_optimizer(model, {**configuration.to_dict()}, total_steps=_HORIZON)
    found = []
    for step in range(steps):
        inputs, targets = (moved(part, device, dtype) for part in task.batch(seed, step))
        arguments = (inputs,) if isinstance(inputs, torch.Tensor) else inputs
        with task.step(seed, step, machine.device), task.precision(machine.device):
            loss = task.loss(model(*arguments), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        found.append(loss.item())
    return np.array(found)


def _packed(task: Task, configuration: Configuration, machine: Machine, steps: int) -> np.ndarray:
    pack = Pack(task, configuration.program, len(_SEEDS), machine)
    for seed in _SEEDS:
        pack.place(Run(seed, seed, configuration.to_dict(), seed, _HORIZON))
    return pack.train(steps)[:, 0]


def _rate_alone(task: Task, configuration: Configuration, machine: Machine) -> float:
    steps, passed = 5, 0.0
    _alone(task, configuration, 0, machine, steps)  # warms up
    while passed < _TIMED_S:
        steps *= 2
        started = time.perf_counter()
        _alone(task, configuration, 0, machine, steps)
        passed = time.perf_counter() - started
    return steps / passed
