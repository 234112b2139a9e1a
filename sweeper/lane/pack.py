"""A pack: K runs trained as one tensor program on one device."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sweeper.errors import SweepError
from sweeper.lane.feed import Feed, Place
from sweeper.lane.memory import is_lack_of_memory
from sweeper.lane.run import Run
from sweeper.optim import coefficients
from sweeper.optim.arena import Arena, SavedRow
from sweeper.optim.catalog import SERIES
from sweeper.optim.configuration import Program, parse
from sweeper.optim.decay import decay_mask
from sweeper.optim.rules import RULES
from sweeper.optim.statistics import NAMES
from sweeper.optim.step import Step
from sweeper.tasks.examine import examine
from sweeper.tasks.gradient import packed_gradient
from sweeper.tasks.importing import failed
from sweeper.tasks.task import Task

# Statistics are made at every such step of a run.
SAMPLE_EVERY = 10
# Steps whose coefficients and batches are made at once: a table of 1024 rows then has 90 MB.
_BLOCK = 1000
_STATISTICS = [SERIES.index(name) for name in NAMES]
_LOSS, _LR = SERIES.index("loss"), SERIES.index("lr")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how packs run.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        dtype: `float32` or `float64`.
        compiled: train through torch.compile.
        workers: processes that load the batches of a Dataset; 0 loads in the lane's own.
    """

    device: str = "cpu"
    dtype: str = "float32"
    compiled: bool = True
    workers: int = 0

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


class Pack:
    """K slots of one task and one program.

    A run in a slot is a pure function of (task, configuration, seed): at one capacity its numbers
    are the same in any slot and beside any neighbours (on the CPU bit for bit).

    Args:
        sample_every: statistics are made at the steps that it divides; so are the lengths of
            `train`, but the last one of a run. All rows then have theirs at the same time, and
            which of the two compiled steps a row runs through depends on its own step alone.
        extras: hyperparameters with state of their own that its runs may set; None for all.
        update_cosine: whether to keep the last update, which that statistic needs.
    """

    def __init__(
        self,
        task: Task,
        program: Program,
        capacity: int,
        machine: Machine,
        *,
        extras: Collection[str] | None = None,
        sample_every: int = SAMPLE_EVERY,
        update_cosine: bool = False,
    ) -> None:
        self.task, self.program, self.machine = task, program, machine
        self.sample_every = sample_every
        device, dtype = machine.torch_device, machine.torch_dtype
        self.form = examine(task, machine.device, dtype)
        self.layout = self.form.layout
        model = task.initial(0).to(dtype)
        self.arena = Arena.empty(
            RULES[program.rule],
            capacity,
            self.layout.sizes,
            dtype=dtype,
            device=device,
            decay_mask=decay_mask(model, program.no_decay),
            extras=extras,
            keep_update=update_cosine,
            own=self.form.own_of(model),
        )
        self._feed = Feed(task, self.form, device, dtype, self.arena.own, machine.workers)
        gradient = packed_gradient(task, self.form, self.arena.theta, self._feed.data)
        self._gradient = gradient
        self._step = Step(
            self.arena, gradient, compiled=machine.compiled, traceable=not self.form.trouble
        )
        self._slots: list[Run | None] = [None] * capacity

    @property
    def capacity(self) -> int:
        return len(self._slots)

    @property
    def free(self) -> int:
        """Number of empty slots."""
        return self._slots.count(None)

    def runs(self) -> dict[int, int]:
        """Slot by run id."""
        return {run.id: slot for slot, run in enumerate(self._slots) if run is not None}

    def step_of(self, slot: int) -> int:
        """Steps made by the run in a slot."""
        row = self.arena.rows[slot]
        assert row is not None, f"slot {slot} is empty"
        return row.step

    def seed_of(self, slot: int) -> int:
        """Seed of the run in a slot."""
        run = self._slots[slot]
        assert run is not None, f"slot {slot} is empty"
        return run.seed

    def place(self, run: Run, row: SavedRow | None = None) -> int:
        """Put a run into an empty slot, from its start or from a saved row; returns the slot."""
        slot = self._slots.index(None)
        configuration = parse(run.config)
        assert configuration.program == self.program
        if row is None:
            model = self.task.initial(run.seed)
            theta, own = self.layout.flatten(model), self.form.own_of(model)
            self.arena.start(slot, theta, configuration, run.horizon, own)
        else:
            self.arena.load(slot, row, configuration, run.horizon)
        self._slots[slot] = run
        return slot

    def remove(self, slot: int) -> None:
        """Empty a slot."""
        self._slots[slot] = None
        self.arena.clear(slot)

    def row(self, slot: int) -> SavedRow:
        """The run's state as plain tensors on the host."""
        return self.arena.save(slot)

    def model(self, slot: int) -> nn.Module:
        """The model of a slot as an ordinary module on the pack's device, in eval mode."""
        model = self.task.initial(0).to(self.arena.theta)
        own = {name: tensor[slot] for name, tensor in self.arena.own.items()}
        self.form.load(model, self.arena.theta[slot], own)
        return model.eval()

    def evaluate(self, slot: int) -> dict[str, float]:
        """The task's metrics of the model in a slot; empty when the task has none."""
        if self.task.evaluate is None:
            return {}
        try:
            with torch.no_grad():
                metrics = self.task.evaluate(self.model(slot))
            return {name: float(value) for name, value in metrics.items()}
        except Exception as error:
            if is_lack_of_memory(error):
                raise
            raise failed("the task's evaluate fails", error) from error

    def train(self, steps: int) -> np.ndarray:
        """Train every occupied slot by `steps` steps (fewer where the horizon comes first).

        Returns:
            `[steps, S, K]` in the order of SERIES; all but the loss are NaN between the samples.
            What stands beyond a row's horizon or in an empty slot means nothing.
        """
        block = max(1, _BLOCK // self.sample_every) * self.sample_every
        starts = range(0, steps, block)
        return np.concatenate([self._train(min(block, steps - start)) for start in starts])

    def _train(self, steps: int) -> np.ndarray:
        """One block of steps, one copy from the device."""
        table = self.arena.coefficients(steps)
        clips_norm = self.arena.clips_norm
        losses: list[Tensor] = []
        statistics: list[Tensor] = []
        i, batch = 0, ()
        try:
            with self._step.hot(
                *(("plain", "sampled") if self.sample_every > 1 else ("sampled",))
            ):
                for i, batch in enumerate(self._feed.steps(self._places(), steps)):
                    if i % self.sample_every:
                        losses.append(self._step.plain(table[i], *batch, clips_norm=clips_norm))
                    else:
                        loss, sampled = self._step.sampled(table[i], *batch)
                        losses.append(loss)
                        statistics.append(sampled)
        except Exception as error:
            told = self._told(error, i, batch)
            if told is None:
                raise
            raise told from error
        self.arena.advance(steps)
        series = np.full((steps, len(SERIES), self.capacity), np.nan, self.machine.dtype)
        series[:, _LOSS] = torch.stack(losses).cpu().numpy()
        sampled_steps = series[:: self.sample_every]  # a view
        sampled_steps[:, _STATISTICS] = torch.stack(statistics).cpu().numpy()
        lr = coefficients.names(self.arena.rule).index("lr")
        sampled_steps[:, _LR] = table[:: self.sample_every, lr].cpu().numpy()
        return series

    def _told(self, error: Exception, step: int, batch: tuple[Any, ...]) -> SweepError | None:
        """What is wrong with the data of a step, which compiled code says in its own words only.

        None where that isn't the cause.
        """
        if isinstance(error, SweepError) or is_lack_of_memory(error):
            return None
        if self.machine.device != "cpu":  # a device that has failed takes no more calls
            return None
        try:
            self._gradient(self.arena.theta, *batch)
        except Exception as found:
            places = [one for one in self._places() if one is not None]
            where = ", ".join(f"{one.step + step} (seed {one.seed})" for one in places[:3])
            return failed(f"training fails at step {where}", found)
        return None

    def _places(self) -> list[Place | None]:
        """What every slot needs batches for."""
        return [
            None if run is None else Place(run.seed, self.step_of(slot), run.horizon)
            for slot, run in enumerate(self._slots)
        ]
