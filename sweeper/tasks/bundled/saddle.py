"""A saddle, or two minima of one depth and different width: what do optimizers leave?

saddle: x^2 / 2 - y^2 / 2 + y^4 / 4. From near (-1, 0) a run slides to the saddle at (0, 0), from
where it has to leave for a minimum at y = 1 or -1.

two_minima: along y two valleys of depth -1 at y = -1 (narrow) and y = 1 (wide), between them a
wall; the narrow one is 25 times as sharp. Runs start in the narrow one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.tasks.bundled import landscape
from sweeper.tasks.bundled.arguments import check_int, check_real, check_word
from sweeper.tasks.task import Task

SURFACES = ("saddle", "two_minima")
_NARROW, _WIDE = 0.12, 0.6
_START = {"saddle": (-1.0, 1e-3), "two_minima": (-0.5, -1.0)}


def build(surface: str = "saddle", noise: float = 0.1, data_seed: int = 0) -> Task:
    """The task.

    Args:
        surface: saddle or two_minima.
        noise: standard deviation of a step's gradient, 0 to 100.
        data_seed: of the noise.
    """
    name = check_word("surface", surface, SURFACES)
    check_int("data_seed", data_seed, 0)
    noise = check_real("noise", noise, 0, 100)
    height = saddle if name == "saddle" else two_minima
    spread = 1e-3 if name == "saddle" else 0.01
    return landscape.task(height, _START[name], noise=noise, spread=spread, data_seed=data_seed)


def saddle(x: Tensor, y: Tensor) -> Tensor:
    """Lowest at (0, 1) and (0, -1), with height -1/4."""
    return x.square() / 2 - y.square() / 2 + y.pow(4) / 4


def two_minima(x: Tensor, y: Tensor) -> Tensor:
    """Two Gaussian valleys and a slope up to both sides."""
    narrow = torch.exp(-(((y + 1) / _NARROW) ** 2))
    wide = torch.exp(-(((y - 1) / _WIDE) ** 2))
    return x.square() / 2 - narrow - wide + torch.relu(y.abs() - 1).square() / 2
