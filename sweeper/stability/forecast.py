"""When will a run become unstable? A forecast from one early measurement of its sharpness.

Once gradients are small beside their second moment, the divisor P of a full-batch run only falls
(see preconditioner.py), and its sharpness S = lr lambda_max(P^-1/2 H P^-1/2) rises by a known
factor. With H constant, of a probe after t0 updates,

    S(t) = S(t0) lr(t) / lr(t0) P(t0) / P(t),

and the forecast is the first t with S(t) >= threshold(t). This is the adaptive edge of stability
(Cohen et al. 2022, 2207.14484), reached on the timescale 2 / (1 - beta2) without any noise.

The forecast is of the crossing, a little before the loss is seen to rise. After it S hovers about
the threshold, and there is nothing left to forecast. Probe again as a run goes: H moves on losses
that are not quadratic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sweeper.optim.array import Array
from sweeper.optim.configuration import Configuration
from sweeper.stability import course, preconditioner
from sweeper.stability.sharpness import Bounds, Probe
from sweeper.stability.threshold import no_threshold, threshold

# A check against an earlier probe needs this much expected growth of log S.
_LEAST_GROWTH = 0.01
# Width of the range as a share of the step, up to which a forecast is good, or fair.
_GOOD, _FAIR = 0.1, 0.5
# Of log S: far beyond any threshold, and finite.
_MOST_DRIFT = 200.0
# Steps looked at first; between two of them lr does nothing sudden in these schedules.
_COARSE = 256
_SMOOTH = (
    "constant", "exponential", "polynomial", "cosine", "inverse_sqrt", "wsd", "range_test",
    "onecycle",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a run reaches its threshold.

    Args:
        step: updates made by then; None where it isn't reached within the steps looked at, or the
            forecast doesn't apply.
        applies: whether the assumptions hold.
        reason: what the forecast says and why, or why it doesn't apply.
        low, high: range of the step, by what eps leaves open (see sharpness.py) and by how far S
            has departed from what an earlier probe forecast; None beyond the steps looked at.
        confidence: `none` (doesn't apply), `unchecked` (no earlier probe), `poor`, `fair` or
            `good` (range within half, within a tenth of the step), `measured` (it is there now).
    """

    step: int | None
    applies: bool
    reason: str
    low: int | None = None
    high: int | None = None
    confidence: str = "none"


def forecast(
    configuration: Configuration,
    horizon: int,
    probe: Probe,
    *,
    full_batch: bool,
    earlier: Probe | None = None,
    until: int | None = None,
) -> Forecast:
    """The first step from the probe on at which S reaches the threshold.

    Args:
        horizon: steps that the schedule is stretched over, >= 1.
        full_batch: whether every step sees all samples.
        earlier: a probe of the same run at least one step before, to check the growth by.
        until: last step to look at; default `horizon`. Beyond it the schedule goes on by its
            formula. Of smooth schedules some steps are looked at first and all only about a
            crossing; of others time and memory are proportional to it.

    Raises:
        ValueError: an earlier probe that is not earlier, or a probe before the first step.
    """
    _check(probe, earlier)
    end = max(probe.step, horizon if until is None else until)
    now = np.array([float(probe.step)])
    edge = float(threshold(configuration, horizon, now)[0])
    reason = _obstacle(configuration, probe, edge, full_batch)
    if reason is not None:
        return Forecast(None, False, reason)
    if probe.sharpness >= edge:
        said = f"at its threshold now: S is {probe.sharpness:.3g} of {edge:.3g}"
        return Forecast(probe.step, True, said, probe.step, probe.step, "measured")
    reason = preconditioner.no_fall(configuration) or _no_scale(configuration, horizon, probe)
    drift = 0.0
    if reason is None and earlier is not None:
        measured, bounds = _growths(configuration, horizon, earlier, probe)
        reason = _no_growth(configuration, horizon, earlier, probe, measured, bounds)
        drift = _drift(measured, bounds) / (probe.step - earlier.step)
    if reason is not None:
        return Forecast(None, False, reason)

    def share(step: Array) -> Bounds:
        """S over its threshold, `[T]`, by what eps leaves open and what it may drift."""
        scale = probe.sharpness / threshold(configuration, horizon, step)
        low, middle, high = (scale * one for one in _growth(configuration, horizon, probe, step))
        factor = np.exp(np.minimum(drift * (step - probe.step), _MOST_DRIFT))
        return Bounds(low / factor, middle, high * factor)

    return _crossing(share, _grid(configuration, probe.step, end), earlier is not None)


def _check(probe: Probe, earlier: Probe | None) -> None:
    if probe.step < 1 or (earlier is not None and earlier.step < 1):
        raise ValueError("a probe before the first step: there is no second moment yet")
    if earlier is not None and earlier.step >= probe.step:
        raise ValueError(f"the earlier probe is at step {earlier.step}, not before {probe.step}")


def _obstacle(
    configuration: Configuration, probe: Probe, edge: float, full_batch: bool
) -> str | None:
    """Why S can't even be compared with a threshold."""
    missing = no_threshold(configuration)
    if missing is not None:
        return missing
    if not full_batch:
        return (
            "mini-batches: the noise of the gradient keeps refreshing the second moment, and the "
            "threshold is lower by an unknown amount"
        )
    if np.isnan(edge):
        return "this step isn't preconditioned yet: probe later"
    if not (np.isfinite(probe.sharpness) and probe.sharpness > 0):
        return f"no positive curvature at the probe: S is {probe.sharpness:g}"
    return None


def _no_scale(configuration: Configuration, horizon: int, probe: Probe) -> str | None:
    lr = course.learning_rate(configuration, horizon, np.array([float(probe.step)]))
    return None if lr[0] > 0 else "lr is 0 at the probe, so S says nothing of the curvature"


def _growth(configuration: Configuration, horizon: int, probe: Probe, step: Array) -> Bounds:
    """S(t) / S(t0), `[T]`."""
    start = np.array([float(probe.step)])
    lr = course.learning_rate(configuration, horizon, step)
    lr = lr / course.learning_rate(configuration, horizon, start)
    left = preconditioner.left(configuration, probe.step, step)
    factor = lr / left.eps
    return Bounds(*(factor * one for one in probe.growth(left.root / left.eps)))


def _growths(
    configuration: Configuration, horizon: int, earlier: Probe, probe: Probe
) -> tuple[float, Bounds]:
    """log S of a later probe over an earlier one: as measured, and as forecast `[1]`."""
    step = np.array([float(probe.step)])
    with np.errstate(all="ignore"):  # lr may be 0 at the earlier probe, and S negative
        forecast = _growth(configuration, horizon, earlier, step)
        measured = float(np.log(probe.sharpness / earlier.sharpness))
        return measured, Bounds(*(np.log(one) for one in forecast))


def _drift(measured: float, bounds: Bounds) -> float:
    """By how much log S left the bounds of its forecast."""
    return abs(float(measured - np.clip(measured, bounds.low[0], bounds.high[0])))


def _no_growth(
    configuration: Configuration,
    horizon: int,
    earlier: Probe,
    probe: Probe,
    measured: float,
    bounds: Bounds,
) -> str | None:
    """Why the growth that the forecast counts on is not there."""
    growth = float(bounds.middle[0])
    if not (np.isfinite(measured) and np.isfinite(growth)):
        return "the earlier probe had no positive curvature or no lr: the growth is unknown"
    # What lr does to S is no growth of the kind that the forecast counts on.
    lr = course.learning_rate(configuration, horizon, np.array([earlier.step, probe.step], float))
    by_lr = float(np.log(lr[1] / lr[0]))
    if growth - by_lr >= _LEAST_GROWTH and measured <= by_lr:
        return (
            f"S / lr has not grown since step {earlier.step}, where a factor of "
            f"{np.exp(growth - by_lr):.3g} was expected: gradients still refresh the second moment"
        )
    return None


def _grid(configuration: Configuration, start: int, end: int) -> Array:
    """The steps to look at first, `[T]`; the first and the last among them."""
    count = end - start + 1
    if count > 2 * _COARSE and configuration.schedule.kind in _SMOOTH:
        count = _COARSE
    return np.linspace(start, end, count).round()


def _crossing(share: Callable[[Array], Bounds], grid: Array, is_checked: bool) -> Forecast:
    """Where S over its threshold reaches 1, and how sure that is."""
    coarse = share(grid)
    fine: dict[int, tuple[Array, Bounds]] = {}  # by place in the grid

    def first(name: str) -> int | None:
        reached = getattr(coarse, name) >= 1
        if not reached.any():
            return None
        place = int(reached.argmax())
        if place == 0:
            return int(grid[0])
        if place not in fine:
            step = np.arange(grid[place - 1] + 1, grid[place] + 1)
            fine[place] = step, share(step)
        step, near = fine[place]
        return int(step[(getattr(near, name) >= 1).argmax()])

    low, found, high = first("high"), first("middle"), first("low")
    reason = _described(found, coarse.middle, grid)
    return Forecast(
        found,
        True,
        reason,
        low,
        high,
        _confidence(found, low, high) if is_checked else "unchecked",
    )


def _described(found: int | None, share: Array, grid: Array) -> str:
    if found is not None:
        return f"S reaches its threshold after {found} steps"
    most = int(share.argmax())
    return (
        f"S stays below its threshold up to step {grid[-1]:.0f}: "
        f"at most {share[most]:.3g} of it, at step {grid[most]:.0f}"
    )


def _confidence(found: int | None, low: int | None, high: int | None) -> str:
    if found is None:
        return "good" if low is None else "poor"
    if low is None or high is None:
        return "poor"
    width = (high - low) / found
    return "good" if width <= _GOOD else "fair" if width <= _FAIR else "poor"
