"""Seeds that no search has seen, and how far apart runs are that differ in their seed alone."""

from __future__ import annotations

import numpy as np

from reproductions.scale import Scale

_FRESH = (100, 101, 102, 103, 104)


def fresh(scale: Scale, most: int = len(_FRESH)) -> tuple[int, ...]:
    """Up to `most` of them, five at the most; one at least."""
    return _FRESH[: scale.count(most)]


def spread(values: np.ndarray) -> float:
    """Standard deviation between seeds `[n]`; 0 where there is one."""
    return float(values.std(ddof=1)) if values.size > 1 else 0.0
