"""Rolling minima, means and streaks in O(n), by prefixes and suffixes of blocks.

van Herk 1992, Gil & Werman 1993. Means add and never subtract, so a spike leaves no rounding
behind once it has left the window (a difference of cumulative sums would).
"""

from __future__ import annotations

import numpy as np


def rolling_min(values: np.ndarray, width: int) -> np.ndarray:
    """Minimum of every `width` values in a row, `[n - width + 1]`; n >= width."""
    prefix, suffix = _blocks(values, width, np.minimum, np.inf)
    count = values.size - width + 1
    result: np.ndarray = np.minimum(suffix[:count], prefix[width - 1 : width - 1 + count])
    return result


def trailing_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of the last `width` values up to each one (of all there are at the start), `[n]`."""
    partial = np.cumsum(values[: width - 1]) / np.arange(1, min(width - 1, values.size) + 1)
    count = values.size - width + 1
    if count <= 0:
        return partial
    prefix, suffix = _blocks(values, width, np.add, 0.0)
    whole_block = np.arange(count) % width == 0  # the window is one block: don't count it twice
    rest = np.where(whole_block, 0.0, prefix[width - 1 : width - 1 + count])
    return np.concatenate([partial, (suffix[:count] + rest) / width])


def streak_lengths(over: np.ndarray, before: int) -> np.ndarray:
    """For every step how many steps in a row up to it are `over`, `before` of them earlier."""
    index = np.arange(1, over.size + 1)
    last_under = np.maximum.accumulate(np.where(over, -before, index))
    result: np.ndarray = np.where(over, index - last_under, 0)
    return result


def _blocks(
    values: np.ndarray, width: int, combine: np.ufunc, neutral: float
) -> tuple[np.ndarray, np.ndarray]:
    """Running values from the left and from the right end of every block of `width`."""
    blocks = -(-values.size // width)
    padded = np.full(blocks * width, neutral)
    padded[: values.size] = values
    grid = padded.reshape(blocks, width)
    prefix = combine.accumulate(grid, axis=1).reshape(-1)
    suffix = combine.accumulate(grid[:, ::-1], axis=1)[:, ::-1].reshape(-1)
    return prefix, suffix
