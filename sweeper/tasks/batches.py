"""Mini-batches as a pure function of (seed, step): a fresh permutation for every epoch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def indices(seed: int, first: int, steps: int, size: int, batch_size: int) -> np.ndarray:
    """Samples of the batches of steps `first` to `first + steps - 1`, int64 `[steps, B]`.

    Every epoch visits each of `size` samples at most once; an incomplete last batch is dropped.
    """
    epoch_steps = size // batch_size
    epochs = range(first // epoch_steps, (first + steps - 1) // epoch_steps + 1)
    used = epoch_steps * batch_size
    order = np.concatenate([_permutation(seed, epoch, size)[:used] for epoch in epochs])
    offset = first - epochs.start * epoch_steps
    return order.reshape(-1, batch_size)[offset : offset + steps]


@lru_cache(maxsize=1024)
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(size)
