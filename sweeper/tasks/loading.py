"""Batches of a torch Dataset, loaded ahead by worker processes.

A batch is a pure function of (seed, step), augmentations included: the global random numbers of
torch, NumPy and Python are seeded by it before its samples are read. So it doesn't matter how many
workers there are, and which of them loads it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from sweeper.errors import SweepError
from sweeper.tasks.importing import failed
from sweeper.tasks.parts import Part, shapes
from sweeper.tasks.randomness import keys, seed_everything

Wish = tuple[int, int, tuple[int, ...]]
"""(seed, step, samples) of a batch."""
Batch = tuple[Part, Part]


class Loader:
    """Loads batches in the order in which they are wished.

    Args:
        data: indexed by sample.
        collate: makes a batch of a list of samples; default torch's.
        workers: processes that load ahead; 0 loads in this one.
        pinned: whether to put batches into page-locked memory, for a GPU.
    """

    def __init__(
        self,
        data: Dataset[Any],
        collate: Callable[[list[Any]], Any] | None,
        workers: int = 0,
        *,
        pinned: bool = False,
    ) -> None:
        self._batches = _Batches(data, collate or default_collate)
        self._wishes: list[Wish] = []
        self._seen: tuple[tuple[torch.Size, ...], ...] | None = None
        self._loader: DataLoader[Any] = DataLoader(
            self._batches,
            batch_size=None,
            sampler=_InOrder(self._wishes),
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pinned,
            generator=torch.Generator(),  # else it draws from the global one
        )

    def load(self, wishes: Sequence[Wish]) -> Iterator[Batch]:
        """The batches, one after the other.

        Raises:
            SweepError: a sample can't be read, or shapes change between batches.
        """
        self._wishes[:] = wishes
        for wish, found in zip(wishes, self._loader, strict=True):
            if isinstance(found, _Trouble):
                raise SweepError(found.text, where="data")
            inputs, targets = found
            self._check_shapes(wish, (_part(inputs), _part(targets)))
            yield _part(inputs), _part(targets)

    def _check_shapes(self, wish: Wish, batch: Batch) -> None:
        found = shapes(batch[0]), shapes(batch[1])
        self._seen = self._seen or found
        if found != self._seen:
            raise SweepError(
                f"the samples of step {wish[1]} (seed {wish[0]}) have the shapes "
                f"{_shown(found)}, those before {_shown(self._seen)}",
                where="data",
                cure="Crop or pad them to one shape: a pack is compiled for it.",
            )


class _Trouble:
    """What went wrong in a worker: some errors can't be sent as they are."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Batches(Dataset[Any]):
    def __init__(self, data: Dataset[Any], collate: Callable[[list[Any]], Any]) -> None:
        self._data, self._collate = data, collate

    def __getitem__(self, wish: Wish) -> Any:
        seed, step, samples = wish
        with _seeded(int(keys(seed, step, 1)[0]) % 2**32):
            try:
                found = self._collate([self._data[sample] for sample in samples])
            except Exception as error:
                what = f"the batch of step {step} (seed {seed}) can't be loaded"
                return _Trouble(failed(what, error).what)
        if not isinstance(found, list | tuple) or len(found) != 2:
            return _Trouble(
                f"a batch is {type(found).__name__}; a Dataset gives pairs (input, target)"
            )
        for name, part in zip(("input", "target"), found, strict=True):
            wrong = [one for one in _several(part) if not isinstance(one, Tensor)]
            if wrong or not _several(part):
                kind = type(wrong[0] if wrong else part).__name__
                return _Trouble(
                    f"{kind} in the {name} of a batch; it is a tensor or a tuple of tensors"
                )
        return tuple(found)


class _InOrder(torch.utils.data.Sampler[Wish]):
    def __init__(self, wishes: list[Wish]) -> None:
        self._wishes = wishes

    def __iter__(self) -> Iterator[Wish]:
        return iter(self._wishes)

    def __len__(self) -> int:
        return len(self._wishes)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Global random numbers from this seed on, and afterwards as they were."""
    before = random.getstate(), np.random.get_state()  # noqa: NPY002 - what data sets use
    with torch.random.fork_rng(devices=[]):
        seed_everything(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002


def _several(found: Any) -> Sequence[Any]:
    return found if isinstance(found, list | tuple) else (found,)


def _part(found: Any) -> Part:
    return tuple(found) if isinstance(found, list) else found


def _shown(found: tuple[tuple[torch.Size, ...], ...]) -> str:
    return " and ".join(", ".join(str(list(shape)) for shape in part) for part in found)
