"""The problem of the part, and the batch sizes."""

from __future__ import annotations

from collections.abc import Callable

from sweeper.tasks.bundled import digits, digits_cnn
from sweeper.tasks.task import Task

FULL = digits.build().size
SIZES = (8, 32, 128, FULL)
TASKS: dict[str, Callable[[int], Task]] = {
    "digits": lambda size: digits.build(batch_size=size),
    "digits_cnn": lambda size: digits_cnn.build(batch_size=size),
}


def named(size: int) -> str:
    """8, or full (1,437)."""
    return f"full ({size:,})" if size == FULL else str(size)
