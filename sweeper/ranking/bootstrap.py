"""What a statistic of few runs is worth: its bootstrap standard error."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def standard_error(
    values: Sequence[float] | np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> float:
    """Bootstrap standard error of a statistic of independent values (Efron 1979).

    The standard deviation of the statistic over samples of the same size, drawn from the values
    with replacement. The same seed gives the same number.

    Args:
        values: `[n]`, finite, n >= 1.
        statistic: from samples `[resamples, n]` to `[resamples]`.
        seed: of the samples.
        resamples: how many; the error of the result is about 1 / sqrt(2 resamples) of it.

    Returns:
        The standard error, >= 0; 0 for one value, which says nothing of its spread.
    """
    known = np.asarray(values, dtype=np.float64)
    if known.size == 1:
        return 0.0
    chosen = np.random.default_rng(seed).integers(0, known.size, (resamples, known.size))
    return float(np.std(statistic(known[chosen]), ddof=1))
