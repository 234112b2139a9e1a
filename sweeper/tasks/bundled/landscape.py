"""Tasks of two parameters: their loss is a surface that can be drawn.

Every sample tilts the surface: a batch of one is a noisy gradient, the full batch has none but
for the mean tilt, which is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sweeper.tasks.task import Task

# Of tilts; they come in pairs of opposite sign, so that their mean is 0.
_SAMPLES = 1024

Height = Callable[[Tensor, Tensor], Tensor]
"""(x, y), of any shape -> the height there."""


class Point(nn.Module):
    """Where a run is; its forward is the height of the surface, tilted by each sample, `[B]`."""

    def __init__(self, height: Height, start: tuple[float, float]) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.tensor(start))
        self._height = height

    def forward(self, tilts: Tensor) -> Tensor:
        return self._height(self.point[0], self.point[1]) + tilts @ self.point


def task(
    height: Height, start: tuple[float, float], *, noise: float, spread: float, data_seed: int = 0
) -> Task:
    """A surface as a task.

    Args:
        height: of the surface.
        start: of the run with seed 0; others start about it.
        noise: standard deviation of each part of a sample's gradient; 0 is the full batch.
        spread: standard deviation of the starts of other seeds.
        data_seed: of the tilts.
    """
    half = torch.randn(_SAMPLES // 2, 2, generator=torch.Generator().manual_seed(data_seed))
    tilts = noise * torch.cat([half, -half]) / half.square().mean(0).sqrt()

    def init(seed: int) -> dict[str, Tensor]:
        moved = torch.randn(2, generator=torch.Generator().manual_seed(seed)) * spread
        return {"point": torch.tensor(start) + (moved if seed else 0)}

    return Task(
        model=lambda: Point(height, start),
        loss=lambda output, target: (output - target).mean(),
        data=(tilts, torch.zeros(_SAMPLES)),
        batch_size=1 if noise else None,
        init=init,
    )
