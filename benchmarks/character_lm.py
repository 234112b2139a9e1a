"""The bundled character model as a task of the benchmark."""

from __future__ import annotations

from dataclasses import replace

from sweeper.tasks.bundled import char_lm
from sweeper.tasks.task import Task


def build() -> Task:
    """The task, without an evaluation: the other side of the benchmark has none."""
    return replace(char_lm.build(), evaluate=None)
