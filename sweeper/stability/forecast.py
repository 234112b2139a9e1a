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
            formula. Time and memory are proportional to it.

    Raises:
        ValueError: an earlier probe that is not earlier, or a probe before the first step.
    """
    _check(probe, earlier)
    end = max(probe.step, horizon if until is None else until)
    step = np.arange(probe.step, end + 1, dtype=np.float64)
    edge = threshold(configuration, horizon, step)
    reason = _obstacle(configuration, probe, float(edge[0]), full_batch)
    if reason is not None:
        return Forecast(None, False, reason)
    if probe.sharpness >= edge[0]:
        now = f"at its threshold now: S is {probe.sharpness:.3g} of {edge[0]:.3g}"
        return Forecast(probe.step, True, now, probe.step, probe.step, "measured")
    reason = preconditioner.no_fall(configuration) or _no_scale(configuration, horizon, probe)
    if reason is None and earlier is not None:
        reason = _no_growth(configuration, horizon, earlier, probe)
    if reason is not None:
        return Forecast(None, False, reason)
    growth = _growth(configuration, horizon, probe, step)
    share = Bounds(*(probe.sharpness * one / edge for one in growth))
    drift = 0.0 if earlier is None else _drift(configuration, horizon, earlier, probe)
    return _crossing(share, probe.step, drift, is_checked=earlier is not None)


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


def _drift(configuration: Configuration, horizon: int, earlier: Probe, probe: Probe) -> float:
    """By how much log S left the bounds of its forecast, per step."""
    measured, bounds = _growths(configuration, horizon, earlier, probe)
    departure = measured - np.clip(measured, bounds.low[0], bounds.high[0])
    return abs(float(departure)) / (probe.step - earlier.step)


def _no_growth(
    configuration: Configuration, horizon: int, earlier: Probe, probe: Probe
) -> str | None:
    """Why the growth that the forecast counts on is not there."""
    measured, bounds = _growths(configuration, horizon, earlier, probe)
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


def _crossing(share: Bounds, start: int, drift: float, *, is_checked: bool) -> Forecast:
    """Where S / threshold `[T]` reaches 1, and how sure that is.

    Args:
        drift: of log S per step, by which it departed from its forecast between two probes, and
            may depart on, either way.
    """
    factor = np.exp(np.minimum(drift * np.arange(share.middle.size), _MOST_DRIFT))
    low, found, high = (
        _first(one >= 1, start) for one in (share.high * factor, share.middle, share.low / factor)
    )
    reason = _described(found, share.middle, start)
    confidence = _confidence(found, low, high) if is_checked else "unchecked"
    return Forecast(found, True, reason, low, high, confidence)


def _first(reached: np.ndarray, start: int) -> int | None:
    return start + int(reached.argmax()) if reached.any() else None


def _described(found: int | None, share: Array, start: int) -> str:
    if found is not None:
        return f"S reaches its threshold after {found} steps"
    most = int(share.argmax())
    return (
        f"S stays below its threshold up to step {start + share.size - 1}: "
        f"at most {share[most]:.3g} of it, at step {start + most}"
    )


def _confidence(found: int | None, low: int | None, high: int | None) -> str:
    if found is None:
        return "good" if low is None else "poor"
    if low is None or high is None:
        return "poor"
    width = (high - low) / found
    return "good" if width <= _GOOD else "fair" if width <= _FAIR else "poor"
