"""A pack: K runs trained as one tensor program on one device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sweeper.lane.run import Run
from sweeper.optim.arena import Arena
from sweeper.optim.configuration import Configuration, parse
from sweeper.optim.rules import Rule
from sweeper.optim.step import make_step
from sweeper.tasks.gradient import Layout, packed_gradient
from sweeper.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how packs run.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        dtype: `float32` or `float64`.
        compiled: train through torch.compile.
    """

    device: str = "cpu"
    dtype: str = "float32"
    compiled: bool = True

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.device)

    @property
    def torch_dtype(self) -> torch.dtype:
        dtype: torch.dtype = {"float32": torch.float32, "float64": torch.float64}[self.dtype]
        return dtype

    @property
    def eps(self) -> float:
        """Relative rounding of the dtype."""
        return float(torch.finfo(self.torch_dtype).eps)


@dataclass(slots=True)
class _Occupant:
    run: Run
    step: int  # on the host, so that looking at it never waits for the device


class Pack:
    """K slots of one task and one update rule.

    A run in a slot is a pure function of (task, configuration, seed): at one capacity its numbers
    are the same in any slot and beside any neighbours (on the CPU bit for bit).
    """

    def __init__(self, task: Task, rule: Rule, capacity: int, machine: Machine) -> None:
        self.task, self.rule, self.machine = task, rule, machine
        device, dtype = machine.torch_device, machine.torch_dtype
        inputs, targets = task.data
        is_real = targets.is_floating_point()
        self._data = (inputs.to(device, dtype), targets.to(device, dtype if is_real else None))
        self.layout = Layout.of(task.initial(0))
        self.arena = Arena.empty(rule, capacity, self.layout.size, dtype=dtype, device=device)
        gradient = packed_gradient(task, self.layout, self.arena.theta, self._data)
        self._step = make_step(self.arena, gradient, compiled=machine.compiled)
        self._slots: list[_Occupant | None] = [None] * capacity

    @property
    def capacity(self) -> int:
        return len(self._slots)

    @property
    def free(self) -> int:
        """Number of empty slots."""
        return self._slots.count(None)

    def runs(self) -> dict[int, int]:
        """Slot by run id."""
        return {held.run.id: slot for slot, held in enumerate(self._slots) if held is not None}

    def step_of(self, slot: int) -> int:
        """Steps made by the run in a slot."""
        return self._occupant(slot).step

    def place(self, run: Run, row: dict[str, Tensor] | None = None) -> int:
        """Put a run into an empty slot, from its start or from a saved row; returns the slot."""
        slot = self._slots.index(None)
        configuration: Configuration = parse(run.config)
        if row is None:
            theta = self.layout.flatten(self.task.initial(run.seed))
            self.arena.start(slot, theta, configuration, run.horizon)
        else:
            self.arena.load(slot, row, configuration, run.horizon)
        self._slots[slot] = _Occupant(run, 0 if row is None else int(row["step"]))
        return slot

    def remove(self, slot: int) -> None:
        """Empty a slot."""
        self._slots[slot] = None
        self.arena.clear(slot)

    def row(self, slot: int) -> dict[str, Tensor]:
        """The run's state as plain tensors on the host."""
        return self.arena.save(slot)

    def model(self, slot: int) -> nn.Module:
        """The model of a slot as an ordinary module on the pack's device."""
        model = self.task.initial(0).to(self.arena.theta)
        model.load_state_dict(self.layout.unflatten(self.arena.theta[slot]))
        return model

    def evaluate(self, slot: int) -> dict[str, float]:
        """The task's metrics of the model in a slot; empty when the task has none."""
        if self.task.evaluate is None:
            return {}
        with torch.no_grad():
            metrics = self.task.evaluate(self.model(slot))
        return {name: float(value) for name, value in metrics.items()}

    def train(self, steps: int) -> np.ndarray:
        """Train every occupied slot by `steps` steps (fewer where the horizon comes first).

        Returns:
            `[steps, 4, K]`: loss, gradient norm, update RMS and lr of every step, one copy from
            the device; what stands beyond a row's horizon or in an empty slot means nothing.
        """
        batches = self._batches(steps)
        outputs = [self._step(*(() if batches is None else (batches[i],))) for i in range(steps)]
        for held in self._slots:
            if held is not None:
                held.step = min(held.step + steps, held.run.horizon)
        series: np.ndarray = torch.stack(outputs).cpu().numpy()
        return series

    def _batches(self, steps: int) -> Tensor | None:
        """Samples of every row's batches, `[steps, K, B]`; None for the full batch."""
        size = self.task.batch_size
        if size is None:
            return None
        chosen = np.zeros((steps, self.capacity, size), dtype=np.int64)
        for slot, held in enumerate(self._slots):
            if held is not None:
                chosen[:, slot] = self.task.indices(held.run.seed, held.step, steps)
        return torch.from_numpy(chosen).to(self.machine.torch_device)

    def _occupant(self, slot: int) -> _Occupant:
        held = self._slots[slot]
        assert held is not None, f"slot {slot} is empty"
        return held
