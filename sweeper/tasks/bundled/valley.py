"""A long valley: steep across, nearly flat along. The error surface of lectures on training.

x^2 / 2 + steepness y^2 / 2: a constant lr small enough for the walls stalls along the valley, one
large enough for that bounces between the walls.
"""

from __future__ import annotations

from torch import Tensor

from sweeper.tasks.bundled import landscape
from sweeper.tasks.bundled.arguments import check_int, check_real
from sweeper.tasks.task import Task

START = (-8.0, 0.5)


def build(steepness: float = 100.0, noise: float = 0.0, data_seed: int = 0) -> Task:
    """The task.

    Args:
        steepness: curvature across by that along, 1 to 1e8.
        noise: standard deviation of a step's gradient, 0 to 100.
        data_seed: of the noise.
    """
    check_real("steepness", steepness, 1, 1e8)
    check_int("data_seed", data_seed, 0)
    noise = check_real("noise", noise, 0, 100)

    def height(x: Tensor, y: Tensor) -> Tensor:
        return x.square() / 2 + steepness * y.square() / 2

    return landscape.task(height, START, noise=noise, spread=0.1, data_seed=data_seed)
