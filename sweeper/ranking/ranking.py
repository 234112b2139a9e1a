"""The order of trials: those that hold first, then the lowest robust loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def rank(trials: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The trials in order, with `rank` from 1 on.

    Args:
        trials: each with `trial`, `failure_fraction` and `robust_loss`.
    """

    def key(trial: Mapping[str, Any]) -> tuple[float, float, int]:
        return trial["failure_fraction"], trial["robust_loss"], trial["trial"]

    ordered = sorted(trials, key=key)
    return [
        {"rank": place, **trial} | {"rank": place} for place, trial in enumerate(ordered, start=1)
    ]
