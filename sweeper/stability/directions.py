"""Random vectors of probes: every row's own, a pure function of its seed and step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sweeper.stability.lanczos import lengths

# Apart from the streams of batches, which (seed, epoch) begin.
_STREAM = 0x50726F62
# Share of a warm start that is random: enough to find an eigenvector that has overtaken.
_FRESH = 0.1


class Directions:
    """Of R rows.

    Args:
        seeds: (seed, step) of every row, ints >= 0.
        like: `[R, P]`; shape, dtype and device of the vectors.
    """

    def __init__(self, seeds: Sequence[tuple[int, int]], like: Tensor) -> None:
        assert len(seeds) == like.shape[0]
        self._like = like
        self._generators = [np.random.default_rng([seed, step, _STREAM]) for seed, step in seeds]

    @property
    def rows(self) -> int:
        """R."""
        return self._like.shape[0]

    def signs(self) -> Tensor:
        """+1 and -1 with equal chances (Rademacher), `[R, P]`."""
        size = self._like.shape[1]
        bits = [g.integers(0, 2, size, dtype=np.int8) for g in self._generators]
        return self._on_device(bits) * 2 - 1

    def start(self, warm: Tensor | None) -> Tensor:
        """Starts of Lanczos, `[R, P]`: normal, since signs can miss an eigenvector for good.

        Args:
            warm: `[R, P]`, vectors of the probe before. A row of zeros, or with a value that isn't
                finite, counts as none.
        """
        size = self._like.shape[1]
        normal = [g.standard_normal(size, dtype=np.float32) for g in self._generators]
        fresh = self._on_device(normal)
        fresh = fresh / lengths(fresh)
        if warm is None:
            return fresh
        length = lengths(warm)
        is_warm = torch.isfinite(length) & (length > 0)
        return torch.where(is_warm, warm / length + _FRESH * fresh, fresh)

    def _on_device(self, rows: Sequence[np.ndarray]) -> Tensor:
        found: Tensor = torch.from_numpy(np.stack(rows)).to(self._like)
        return found
