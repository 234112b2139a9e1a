"""A small convolutional network as a task: the bundled 8 x 8 digits, in batches of 64."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from sweeper.tasks import digits
from sweeper.tasks.task import Task


def build() -> Task:
    """The task, without an evaluation: the other side of the benchmark has none."""
    flat = digits.build()
    inputs, targets = flat.data
    return replace(flat, model=_model, data=(inputs.view(-1, 1, 8, 8), targets), evaluate=None)


def _model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 2 * 2, 10),
    )
