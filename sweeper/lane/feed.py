"""What every step of a pack is given beside its parameters: batches, and the model's context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweeper.tasks import randomness
from sweeper.tasks.layout import Form
from sweeper.tasks.loading import Loader, Wish
from sweeper.tasks.parts import Part, moved, stack
from sweeper.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Place:
    """A run in a slot: its seed, the steps that it has made, and its horizon."""

    seed: int
    step: int
    horizon: int


class Feed:
    """Of a pack.

    Args:
        task: what is trained.
        form: of its model.
        device, dtype: of the pack.
        own: the runs' own tensors, `[K, ...]` by name.
        workers: processes that load batches of a Dataset.
    """

    def __init__(
        self,
        task: Task,
        form: Form,
        device: torch.device,
        dtype: torch.dtype,
        own: dict[str, Tensor],
        workers: int = 0,
    ) -> None:
        self._task, self._form, self._own = task, form, own
        self._device, self._dtype = device, dtype
        self.data: tuple[Part, Part] | None = None
        self._loader: Loader | None = None
        if task.in_memory:
            self.data = (moved(task.data[0], device, dtype), moved(task.data[1], device, dtype))
        else:
            pinned = device.type == "cuda"
            self._loader = Loader(task.data, task.collate, workers, pinned=pinned)

    def steps(self, places: Sequence[Place | None], steps: int) -> Iterator[tuple[Any, ...]]:
        """What every step is given, in the order that tasks.gradient.packed_gradient says.

        Args:
            places: of every slot; None where it is empty.
        """
        contexts = self._contexts(places, steps)
        if self._loader is not None:
            batches: Iterator[tuple[Any, ...]] = self._loaded(self._loader, places, steps)
        elif self._task.batch_size is None:
            batches = (() for _ in range(steps))
        else:
            batches = ((one,) for one in self._samples(places, steps))
        return ((*batch, *context) for batch, context in zip(batches, contexts, strict=True))

    def _samples(self, places: Sequence[Place | None], steps: int) -> Tensor:
        """Samples of every row's batches, `[steps, K, B]`."""
        assert self._task.batch_size is not None
        chosen = np.zeros((steps, len(places), self._task.batch_size), dtype=np.int64)
        for slot, run in enumerate(places):
            if run is not None:
                chosen[:, slot] = self._task.indices(run.seed, run.step, steps)
        return torch.from_numpy(chosen).to(self._device)

    def _loaded(
        self, loader: Loader, places: Sequence[Place | None], steps: int
    ) -> Iterator[tuple[Part, Part]]:
        """Batches `[K, B, ...]`. Rows that need the same one at once share it; empty slots take
        any. None is kept: a row that is steps behind loads it again.
        """
        table = self._wishes(places, steps)
        batches = loader.load([wish for row in table for wish in dict.fromkeys(row)])
        for row in table:
            held: dict[Wish, tuple[Part, Part]] = {}
            for wish in dict.fromkeys(row):
                inputs, targets = next(batches)
                held[wish] = (
                    moved(inputs, self._device, self._dtype),
                    moved(targets, self._device, self._dtype),
                )
            yield stack([held[wish][0] for wish in row]), stack([held[wish][1] for wish in row])

    def _wishes(self, places: Sequence[Place | None], steps: int) -> list[list[Wish]]:
        """The batch of every step and slot."""
        rows: list[list[Wish] | None] = []
        for run in places:
            if run is None:
                rows.append(None)
                continue
            stream = self._task.stream(run.seed)
            samples = self._task.indices(run.seed, run.step, steps)
            rows.append([(stream, run.step + i, tuple(samples[i].tolist())) for i in range(steps)])
        any_row = next(row for row in rows if row is not None)
        return [[(row or any_row)[i] for row in rows] for i in range(steps)]

    def _contexts(
        self, places: Sequence[Place | None], steps: int
    ) -> Iterator[tuple[dict[str, Any], ...]]:
        if not self._form.has_context:
            return iter([()] * steps)
        keys = np.zeros((steps, len(places)), np.int64)
        active = np.zeros((steps, len(places)), bool)
        for slot, run in enumerate(places):
            if run is not None:
                keys[:, slot] = randomness.keys(run.seed, run.step, steps)
                active[: max(0, run.horizon - run.step), slot] = True
        on_device = (torch.from_numpy(one).to(self._device) for one in (keys, active))
        return (
            ({"key": key, "active": is_active, "own": self._own},)
            for key, is_active in zip(*on_device, strict=True)
        )
