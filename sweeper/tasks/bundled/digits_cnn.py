"""A small convolutional network on the digits of `digits`, in mini-batches."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from sweeper.tasks.bundled import digits
from sweeper.tasks.bundled.arguments import check_int
from sweeper.tasks.task import Task


def build(channels: int = 16, batch_size: int = 64) -> Task:
    """The task.

    Args:
        channels: of the first of two convolutions, the second has twice as many; 1 to 4096.
        batch_size: images per step, 1 to 1437.
    """
    check_int("channels", channels, 1, 4096)
    task = digits.build(batch_size=batch_size)

    def model() -> nn.Module:
        return nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * channels * 2 * 2, 10),
        )

    return replace(task, model=model)
