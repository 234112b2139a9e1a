"""The learning-rate range test (Smith 2015, 1506.01186): what the losses of a rising lr tell.

The learning rate of a run grows step by step from very small to very large. Three regions should
show: lr too small to learn, learning, diverging. Their bounds are where a search, or a cyclical
schedule, should begin and end. Some hundred steps see nothing that needs thousands: late
instability isn't found so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sweeper.optim.array import Array

SMOOTHINGS = ("median", "ema", "none")
STOPS = ("4x", "5x", "none")
PICKS = ("steepest", "valley", "minimum")

_BETA = 0.98
# Share of the steps that a running median sees, and that tells where the loss starts.
_WINDOW, _START = 0.05, 0.1
_STOP_FACTORS = {"4x": 4.0, "5x": 5.0, "none": np.inf}
# Share of the whole fall of the loss: where learning begins, and where what was learnt is lost.
_BEGUN, _LOST = 0.05, 0.1
# A fall is more than this share of the first loss and this many standard deviations of its noise.
_LEAST_FALL, _NOISE = 0.01, 3.0
# Of a normal distribution: its standard deviation by the median of absolute deviations.
_MAD = 1.4826


@dataclass(frozen=True, slots=True)
class Rules:
    """How a range test is read.

    Args:
        smoothing: `median`, a running median over a twentieth of the steps, which doesn't lag;
            `ema`, the debiased moving average of fastai and Lightning (0.98), which does; `none`.
        stop: where the test ends: at a smoothed loss above `4x` its best (fastai, Lightning) or
            `5x` (torch-lr-finder), or `none`. A loss that isn't finite ends it always.
        pick: `steepest`, where the loss falls fastest by the logarithm of lr; `valley`, half-way
            into the longest decrease (fastai), which comes early where there is no noise;
            `minimum`, a tenth of lr at the lowest loss.
    """

    smoothing: str = "median"
    stop: str = "none"
    pick: str = "steepest"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a range test says. Learning rates are None where there is no such place.

    Args:
        smoothed: `[T]` the smoothed loss, NaN from the end of the test on.
        picked: lr to take, by the rule.
        begins: lr at which the loss begins to fall: the end of the first region.
        lowest: lr at the lowest smoothed loss.
        diverges: lr at which what was learnt is lost: the beginning of the third region.
        broken: step of the first loss that isn't finite.
    """

    smoothed: Array
    picked: float | None = None
    begins: float | None = None
    lowest: float | None = None
    diverges: float | None = None
    broken: int | None = None

    @property
    def regions(self) -> int:
        """How many of the three regions show."""
        return 1 if self.begins is None else 2 if self.diverges is None else 3


def read(lr: Array, loss: Array, rules: Rules | None = None) -> Reading:
    """Read a range test.

    Args:
        lr: `[T]` ascending, > 0.
        loss: `[T]` before each update; what follows one that isn't finite doesn't count.
    """
    rules = rules or Rules()
    bad = np.flatnonzero(~np.isfinite(loss))
    broken = int(bad[0]) if bad.size else None
    known = np.asarray(loss[:broken], dtype=np.float64)
    curve = smooth(known, rules.smoothing, len(loss))
    curve = curve[: _end(curve, _STOP_FACTORS[rules.stop])]
    shown = np.full(len(loss), np.nan)
    shown[: len(curve)] = curve
    noise = _noise(known[: len(curve)], len(loss))
    places = _regions(curve, noise, len(loss))
    if places is None:
        return Reading(shown, broken=broken)
    begins, lowest, lost = places
    if lost is None and len(curve) < len(loss):
        lost = len(curve)  # what ended the test
    pick = PICKERS[rules.pick]
    return Reading(
        shown,
        picked=pick(lr[: len(curve)], curve, begins, lowest),
        begins=float(lr[begins]),
        lowest=float(lr[lowest]),
        diverges=None if lost is None else float(lr[lost]),
        broken=broken,
    )


def smooth(loss: Array, how: str, steps: int) -> Array:
    """The smoothed loss, `[T]`, of a test of that many steps."""
    if how == "none" or not loss.size:
        return loss
    if how == "median":
        half = max(1, round(_WINDOW * steps / 2))
        padded = np.pad(loss, half, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
        return np.median(windows, axis=1)
    average, smoothed = 0.0, np.empty_like(loss)
    for t, one in enumerate(loss):
        average = _BETA * average + (1 - _BETA) * one
        smoothed[t] = average / (1 - _BETA ** (t + 1))
    return smoothed


def _end(curve: Array, factor: float) -> int:
    """Steps until the loss is beyond a multiple of its best; losses may be negative."""
    if np.isinf(factor) or not curve.size:
        return len(curve)
    best = np.minimum.accumulate(curve)
    beyond = np.flatnonzero(curve > best + (factor - 1) * np.abs(best))
    return int(beyond[0]) if beyond.size else len(curve)


def _noise(loss: Array, steps: int) -> float:
    """Standard deviation of the loss where lr does nothing yet, from successive differences."""
    differences = np.diff(loss[: max(3, round(_START * steps))])
    return float(_MAD * np.median(np.abs(differences)) / np.sqrt(2)) if differences.size else 0.0


def _regions(curve: Array, noise: float, steps: int) -> tuple[int, int, int | None] | None:
    """Steps at which the loss begins to fall, is lowest, and has lost what it had; None without a
    fall."""
    if curve.size < 3:
        return None
    start = max(3, round(_START * steps))
    first = float(np.median(curve[:start]))
    lowest = int(curve.argmin())
    fall = first - float(curve[lowest])
    if lowest < start or fall <= max(_LEAST_FALL * abs(first), _NOISE * noise):
        return None
    above = np.flatnonzero(curve[: lowest + 1] > first - _BEGUN * fall)
    begins = int(above[-1]) + 1 if above.size else 0
    risen = curve[lowest:] > curve[lowest] + max(_LOST * fall, _NOISE * noise)
    lost = np.flatnonzero(risen)
    return begins, lowest, lowest + int(lost[0]) if lost.size else None


def _valley(lr: Array, curve: Array, begins: int, lowest: int) -> float:
    """fastai's `valley`: half-way into the middle third of the longest decreasing subsequence."""
    del begins, lowest
    lengths = np.ones(len(curve), dtype=int)
    for i in range(1, len(curve)):
        before = lengths[:i][curve[:i] > curve[i]]
        if before.size:
            lengths[i] = before.max() + 1
    end = int(lengths.argmax())
    length = int(lengths[end])
    return float(lr[min(end - length + length // 3 + length // 6, len(lr) - 1)])


def _steepest(lr: Array, curve: Array, begins: int, lowest: int) -> float:
    """Where the loss falls fastest by the logarithm of lr; Lightning's takes lr itself, which
    favours small ones."""
    slope = np.gradient(curve, np.log(lr))
    return float(lr[begins + int(slope[begins : lowest + 1].argmin())])


def _minimum(lr: Array, curve: Array, begins: int, lowest: int) -> float:
    """A tenth of lr at the lowest loss."""
    del curve, begins
    return float(lr[lowest] / 10)


PICKERS: dict[str, Callable[[Array, Array, int, int], float]] = {
    "valley": _valley,
    "steepest": _steepest,
    "minimum": _minimum,
}
