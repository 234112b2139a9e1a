"""`auto` in a search space: learning rates that a range test finds.

    lr: auto                                       # all optimizers of the space
    optimizer: {choice: {adamw: {lr: auto}, sgd: {lr: auto}}}    # each its own
    schedule: {choice: {cyclical: {base: auto}}}   # as a share of lr

A range test tells where the loss begins to fall and where it diverges (see stability.lr_range).
The search goes from a tenth of the first, since a long run makes up for a small lr, to the second:
the peak of a cyclical or 1cycle schedule. A cyclical one falls to where learning begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Bounds = tuple[float, float]
"""lr at which the loss begins to fall, and at which it diverges."""

_AUTO = "auto"
_LOWER = 0.1
# Of a schedule that nothing is known for yet.
_BASE = 0.25


def is_asked(space: Mapping[str, Any]) -> bool:
    """Whether a space leaves anything to a range test."""
    return filled(space, None, (1.0, 2.0)) != dict(space)


def search_range(bounds: Sequence[float]) -> list[float]:
    """The learning rates to search, `[low, high]`, by Bounds."""
    begins, diverges = bounds
    return [_LOWER * begins, diverges]


def filled(
    space: Mapping[str, Any], found: Mapping[str, list[float]] | None, unknown: Bounds
) -> dict[str, Any]:
    """The space, as it is written, with numbers in place of `auto`.

    Args:
        found: Bounds by optimizer; None before the range test.
        unknown: lowest and highest lr that a test will look at.
    """
    return {key: _value(key, value, found, unknown) for key, value in space.items()}


def _value(key: str, value: Any, found: Mapping[str, list[float]] | None, unknown: Bounds) -> Any:
    if key == "lr" and value == _AUTO:
        return {"log_uniform": _range(found, unknown)}
    if key == "base" and value == _AUTO:
        return _BASE if found is None else min(pair[0] / pair[1] for pair in found.values())
    if key == "task_args" or not isinstance(value, Mapping):
        return value
    if key == "optimizer" and isinstance(value.get("choice"), Mapping):
        own = {
            label: _branch(label, branch, found, unknown)
            for label, branch in value["choice"].items()
        }
        return {**value, "choice": own}
    return filled(value, found, unknown)


def _branch(
    label: str, branch: Any, found: Mapping[str, list[float]] | None, unknown: Bounds
) -> Any:
    """The sub-space of an optimizer, whose learning rates are its own."""
    if not isinstance(branch, Mapping):
        return branch
    own = None if found is None else {label: found[label]} if label in found else found
    return filled(branch, own, unknown)


def _range(found: Mapping[str, list[float]] | None, unknown: Bounds) -> list[float]:
    if found is None:
        return list(unknown)
    begins, diverges = zip(*found.values(), strict=True)
    return search_range([min(begins), max(diverges)])
