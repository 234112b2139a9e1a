"""Logistic regression of points that a plane separates, on the full batch.

The loss has no minimum: it falls towards 0 for ever as the weights grow (Soudry et al. 2018,
1710.10345), and with it the gradient, so that the second moment of adaptive rules never settles.
"""

from __future__ import annotations

import torch
from torch import nn

from sweeper.tasks.bundled.arguments import check_int
from sweeper.tasks.task import Task


def build(points: int = 256, inputs: int = 32, data_seed: int = 0) -> Task:
    """The task.

    Args:
        points: of both classes together, 2 to 1e6.
        inputs: normally distributed, their scales from 1 down to 0.1; 1 to 1e5.
        data_seed: of the points and the plane, >= 0.
    """
    check_int("points", points, 2, 1_000_000)
    check_int("inputs", inputs, 1, 100_000)
    check_int("data_seed", data_seed, 0)
    generator = torch.Generator().manual_seed(data_seed)
    scales = torch.logspace(0, -1, inputs)
    x = torch.randn(points, inputs, generator=generator) * scales
    plane = torch.randn(inputs, generator=generator) / scales
    return Task(
        model=lambda: nn.Linear(inputs, 1),
        loss=lambda output, target: nn.functional.softplus(-target * output[:, 0]).mean(),
        data=(x, torch.where(x @ plane > 0, 1.0, -1.0)),
    )
