"""The Pareto front: what nothing else beats in every objective."""

from __future__ import annotations

import numpy as np


def pareto_front(costs: np.ndarray) -> np.ndarray:
    """Which rows no other dominates: as good in every column and better in one.

    Equal rows are on the front together; a row with a cost that is not finite never is.

    Args:
        costs: `[n, m]`, minimised.

    Returns:
        Booleans `[n]`.
    """
    found = np.zeros(len(costs), dtype=bool)
    kept: list[int] = []
    # In this order a row is dominated by earlier ones only, and then by one of the front.
    for index in np.lexsort(costs.T[::-1]):
        row, best = costs[index], costs[kept]
        beaten = (best <= row).all(axis=1) & (best < row).any(axis=1)
        if np.isfinite(row).all() and not beaten.any():
            kept.append(int(index))
    found[kept] = True
    return found
