"""The bundled convolutional network as a task of the benchmark."""

from __future__ import annotations

from dataclasses import replace

from sweeper.tasks.bundled import digits_cnn
from sweeper.tasks.task import Task


def build() -> Task:
    """The task, without an evaluation: the other side of the benchmark has none."""
    return replace(digits_cnn.build(), evaluate=None)
