"""Rungs: the steps of a run at which a pruner compares trials."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from sweeper.lane.record import curve_steps

_COUNT = 8
# Shares of the horizon: before the first no loss says much, after the last little is saved.
_FIRST, _LAST = 0.01, 0.5


def rung_steps(horizon: int) -> tuple[int, ...]:
    """About 8 log-spaced steps from 1 % to 50 % of the horizon, ascending.

    They are steps of the thinned curve, so that every ended run has its loss there. A horizon of
    one step has none.
    """
    return tuple(dict.fromkeys(_places(horizon)))


def matched(horizon: int, longest: int) -> dict[int, int]:
    """The rungs of a run by those of the longest one, at the same shares of their horizons.

    Where a short run has fewer of them, one stands for several.
    """
    own = _places(horizon)
    if not own:
        return {}
    found: dict[int, int] = {}
    for rung, step in zip(_places(longest), own, strict=True):
        found.setdefault(rung, step)
    return found


def _places(horizon: int) -> list[int]:
    """The step of each of the 8 shares; short runs have the same for several."""
    steps = curve_steps(horizon)
    steps = steps[(steps > 0) & (steps < horizon - 1)]
    if not len(steps):
        return []
    wanted = np.geomspace(_FIRST * horizon, _LAST * horizon, _COUNT)
    places = np.searchsorted(steps, wanted, side="right") - 1
    return [int(step) for step in steps[np.maximum(places, 0)]]


def passed(
    curve: Iterable[Sequence[float | None]], steps: Collection[int]
) -> tuple[tuple[int, float], ...]:
    """Step and loss of the rungs on a thinned curve of rows `[step, loss, ...]`, both finite."""
    return tuple((int(row[0] or 0), float(row[1] or 0)) for row in curve if row[0] in steps)
