"""Random numbers as a pure function of (seed, step, call): SplitMix64 as a counter generator.

Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators": element i of a stream
is mix((key + i) * gamma). The key of a step is element `step` of the stream of the run's seed, the
key of a call element `call` of the stream of the step. Torch's int64 wraps as uint64 does.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

_GAMMA, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
# Shift to the right, and what it leaves of 64 bits: that of int64 keeps the sign.
_SHIFTS = ((30, (1 << 34) - 1), (27, (1 << 37) - 1), (31, (1 << 33) - 1))
_BITS = 24


def keys(seed: int, first: int, steps: int) -> np.ndarray:
    """Keys of the steps `first` to `first + steps - 1` of a run, int64 `[steps]`."""
    start = _mix_on_host(np.array([seed + 1], np.uint64) * np.uint64(_GAMMA))
    numbers = np.arange(first + 1, first + steps + 1, dtype=np.uint64)
    return _mix_on_host((start + numbers) * np.uint64(_GAMMA)).view(np.int64)


def uniform(key: Tensor, call: int, size: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Uniform values in [0, 1), multiples of 2**-24: the same ones in every dtype.

    Args:
        key: of the step, int64, a scalar on the device.
        call: 1, 2, ... of the random calls of the step.
        size: of the result.
    """
    numbers = torch.arange(1, math.prod(size) + 1, device=key.device)
    gamma = _signed(_GAMMA)
    words = _mix((_mix((key + call) * gamma) + numbers) * gamma)
    high = (words >> (64 - _BITS)) & ((1 << _BITS) - 1)
    return (high.to(dtype) * 2.0**-_BITS).reshape(tuple(size))


def normal(key: Tensor, call: int, size: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Standard normal values by Box and Muller 1958; takes the numbers of two calls."""
    radius = torch.sqrt(-2 * torch.log1p(-uniform(key, call, size, dtype)))
    return radius * torch.cos(2 * math.pi * uniform(key, call + 1, size, dtype))


@contextmanager
def seeded(key: int, device: torch.device) -> Iterator[None]:
    """Within it torch's global generators draw from the key of a step; afterwards as before.

    For random calls that have no replacement, in runs that aren't packed.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(key % 2**63)
        yield


def seed_everything(seed: int) -> None:
    """Seed the global generators of torch, NumPy and Python, which users' code draws from."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the generator that scripts use
    random.seed(seed)


def _mix(words: Tensor) -> Tensor:
    (first, first_mask), (second, second_mask), (third, third_mask) = _SHIFTS
    words = (words ^ ((words >> first) & first_mask)) * _signed(_FIRST)
    words = (words ^ ((words >> second) & second_mask)) * _signed(_SECOND)
    return words ^ ((words >> third) & third_mask)


def _mix_on_host(words: np.ndarray) -> np.ndarray:
    first, second, third = (np.uint64(shift) for shift, _ in _SHIFTS)
    words = (words ^ (words >> first)) * np.uint64(_FIRST)
    words = (words ^ (words >> second)) * np.uint64(_SECOND)
    mixed: np.ndarray = words ^ (words >> third)
    return mixed


def _signed(word: int) -> int:
    """The same 64 bits as an int64."""
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word
