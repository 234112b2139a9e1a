"""Spike scores: the share of steps whose loss lies far outside what came just before it.

Two published forms, each against the mean and the standard deviation (of the population) of a
window that ends before the step, so that a spike can't hide in its own window:

- `spike_score` (OLMo 2, arXiv:2501.00656): at least 7 standard deviations away, up or down, from
  the last 1000 losses. Published in per cent, here a share. Until there are 1000 losses, those
  there are make the window, from 128 on.
- `upward_spike_score` (StabilityMonitor of OLMo-core, its total): at least 6 standard deviations
  above the last 128 losses.

Both are over all steps, also the first 128, which can't be spikes; a shorter run has no score.
OLMo-core leaves out windows with a standard deviation below 1e-10, which makes it blind below a
loss of 1e-10. Here no deviation up to the floor of the task is a spike: it is rounding, whatever
the window. Where a window has no spread at all, any larger deviation is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# Losses are cut here, so that sums of squares stay finite; smaller deviations have no square.
_HUGE, _SMALLEST = 1e150, 1e-140
# Losses are counted by so many windows at a time: what is counted twice costs little then.
_BATCH_WINDOWS = 4


@dataclass(frozen=True, slots=True)
class SpikeForm:
    """What counts as a spike.

    Args:
        window: losses before the step that it is compared with.
        deviations: standard deviations from their mean that make a spike.
        is_upward: whether only losses above the mean do.
        first: losses there must be before the first step that can be a spike.
    """

    window: int
    deviations: float
    is_upward: bool
    first: int


FORMS: Mapping[str, SpikeForm] = {
    "spike_score": SpikeForm(window=1000, deviations=7.0, is_upward=False, first=128),
    "upward_spike_score": SpikeForm(window=128, deviations=6.0, is_upward=True, first=128),
}


class SpikeCounter:
    """Counts the spikes of a run while it goes. Feed it every finite loss once, in order.

    The result doesn't depend on how the losses are cut into chunks, to the last bit: sums are made
    over blocks of the absolute step. Memory is O(window).

    Args:
        floor: deviations up to this share of the first loss are rounding, >= 0.
        forms: by the name of their score.
        first: first loss of the run, where some steps of it are not counted.
    """

    def __init__(
        self,
        floor: float = 0.0,
        forms: Mapping[str, SpikeForm] = FORMS,
        first: float = float("nan"),
    ) -> None:
        self._floor, self._forms = floor, forms
        self._window = max(form.window for form in forms.values())
        self._waiting: list[np.ndarray] = []  # not counted yet
        self._n_waiting = 0
        self._recent = np.empty(0)  # the last losses that were counted, a window of them
        self._first = first
        self._counted = 0
        self._counts = dict.fromkeys(forms, 0)

    def update(self, losses: np.ndarray) -> None:
        """Take the next losses, `[n]`, all finite; beyond 1e150 they count as that."""
        if not losses.size:
            return
        if np.isnan(self._first):
            self._first = float(losses[0])
        self._waiting.append(np.clip(losses, -_HUGE, _HUGE))
        self._n_waiting += losses.size
        if self._n_waiting >= _BATCH_WINDOWS * self._window:
            self._count()

    def result(self) -> dict[str, float | None]:
        """The scores by name, in [0, 1]; None for a run too short to have any."""
        self._count()
        return {
            name: self._counts[name] / self._counted if self._counted >= form.first else None
            for name, form in self._forms.items()
        }

    def state(self) -> tuple[dict[str, Any], np.ndarray]:
        """Plain values and the last losses, from which `restore` goes on."""
        self._count()
        values = {"first": self._first, "counted": self._counted, "counts": dict(self._counts)}
        return values, self._recent

    def restore(self, values: Mapping[str, Any], recent: np.ndarray) -> None:
        """Go on from a saved state; further results are the same as without the break."""
        self._waiting, self._n_waiting = [], 0
        self._first, self._counted = float(values["first"]), int(values["counted"])
        self._counts = {name: int(values["counts"][name]) for name in self._forms}
        self._recent = recent

    def _count(self) -> None:
        """Count the spikes among the losses that wait."""
        if not self._waiting:
            return
        known = np.concatenate([self._recent, *self._waiting])
        least = max(self._floor * min(abs(self._first), _HUGE), _SMALLEST)
        for name, form in self._forms.items():
            new = min(self._n_waiting, max(0, self._counted + self._n_waiting - form.first))
            if new:
                self._counts[name] += self._spikes(known, new, form, least)
        self._counted += self._n_waiting
        self._recent = known[-self._window :].copy()
        self._waiting, self._n_waiting = [], 0

    def _spikes(self, known: np.ndarray, new: int, form: SpikeForm, least: float) -> int:
        """How many of the last `new` of the known losses are spikes."""
        values = known[-(new + form.window) :]
        start = self._counted + self._n_waiting - values.size
        deviation, variance = trailing_deviations(values, start, form.window)
        away = deviation[-new:] if form.is_upward else np.abs(deviation[-new:])
        is_spike = (away > least) & (away**2 >= form.deviations**2 * variance[-new:])
        return int(np.count_nonzero(is_spike))


def trailing_deviations(
    values: np.ndarray, start: int, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """Deviation of every value from the mean of the `window` before it, and their variance.

    A window is the end of one block of the absolute step and the beginning of the next. Sums of
    squares in a block are about its value at the shared end, which all those windows hold: what is
    subtracted then is at most `window` times what is left, however large the losses are (about a
    mean of all it could be any multiple). The two parts are joined as in Chan, Golub & LeVeque
    1979, which only adds.

    Args:
        values: `[n]`, at most 1e150 in size.
        start: absolute step of the first; 0 where there are none before.
        window: the variance is over so many, over all there are where start is 0.

    Returns:
        Deviation and variance, `[n]`. Those of the first `window` values mean nothing unless start
        is 0; nor do those of the first value of all.
    """
    lead = start % window
    blocks = -(-(lead + values.size) // window)
    inside = slice(lead, lead + values.size)
    padded = np.zeros(blocks * window)
    padded[inside] = values
    grid = padded.reshape(blocks, window)
    head, tail = grid[:, :1], grid[:, -1:]
    n_own = np.arange(window)  # of the window before a value so many are in its own block
    n_before = window - n_own
    own = np.zeros_like(grid)
    own[:, 1:] = grid[:, :-1] - head
    own_mean, own_squares = _moments(own, np.maximum(n_own, 1))
    mean, squares = own_mean.copy(), own_squares.copy()
    if blocks > 1:
        from_end = (grid[:-1] - tail[:-1])[:, ::-1]
        reverse_mean, reverse_squares = _moments(from_end, np.arange(1, window + 1))
        before_mean, before_squares = reverse_mean[:, ::-1], reverse_squares[:, ::-1]
        step = (tail[:-1] - head[1:]) + before_mean - own_mean[1:]
        mean[1:] += step * (n_before / window)
        squares[1:] += before_squares + step**2 * (n_own * n_before / window)
    count = np.full((blocks, window), window)
    if start < window:
        count[0] = np.maximum(n_own, 1)
    deviation = (grid - head) - mean
    return deviation.reshape(-1)[inside], (squares / count).reshape(-1)[inside]


def _moments(shifted: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Running mean and sum of squared deviations from it, along rows that contain a 0."""
    total = np.cumsum(shifted, axis=1)
    mean = total / count
    squares = np.cumsum(shifted**2, axis=1) - total * mean
    return mean, np.maximum(squares, 0.0)
