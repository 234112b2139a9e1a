"""The value of a trial over its seeds: robust_loss, failure_fraction and violation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Two-sided 90 % quantile of the normal distribution.
_Z90 = 1.6448536269514722
_WORST_VIOLATION = 10.0
# What a run costs that had no finite loss at all: log10 of the largest float64, or a plain loss
# as large as a verdict knows.
_NO_LOSS, _NO_PLAIN_LOSS = 308.0, 1e300

Result = Mapping[str, Any]
"""Verdict of one run, as sweeper.stability.verdict gives it, and what its probes say of it."""

# Confidences of a forecast that count. `poor` is none to go by, and `unchecked` has not been told
# from a run whose gradients still refresh its second moment.
_TRUSTED = ("measured", "good", "fair")
# A crossing before this share of the steps made is left to the verdict, which saw what came of
# it: many networks train at their threshold and hold. After it the loss may yet have to rise.
_JUDGED_SHARE = 0.9


def run_cost(result: Result, *, is_log: bool = True) -> float:
    """log10 of max(tail_loss, floor), or plain tail_loss; the first loss where there is no tail.

    A run that turned non-finite or hopeless has no tail.
    """
    tail, first = result["tail_loss"], result["first_loss"]
    if tail is None or not result["finite"]:
        if first is None:
            return _NO_LOSS if is_log else _NO_PLAIN_LOSS
        tail = first
    if not is_log:
        return float(tail)
    lifted = max(float(tail), float(result["floor"]))
    return math.log10(lifted) if lifted > 0 else -_NO_LOSS


def robust_loss(results: Sequence[Result], cvar: float) -> float:
    """Mean cost of the worst ceil(cvar * n) runs (CVaR over seeds). Minimised."""
    return float(cvar_mean(np.array(costs(results)), cvar))


def cvar_mean(values: np.ndarray, share: float) -> np.ndarray:
    """Mean of the largest ceil(share * n) values along the last axis, `[..., n]` to `[...]`."""
    count = max(1, math.ceil(share * values.shape[-1] - 1e-9))
    return np.asarray(np.sort(values, axis=-1)[..., -count:].mean(axis=-1))


def failure_fraction(results: Sequence[Result]) -> float:
    """Share of the runs that failed."""
    return sum(bool(result["failed"]) for result in results) / len(results)


def wilson_interval(failures: float, runs: int, z: float = _Z90) -> tuple[float, float]:
    """Wilson's score interval of a failure probability (90 % by default), Wilson 1927."""
    share = failures / runs
    centre = share + z * z / (2 * runs)
    spread = z * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs))
    scale = 1 + z * z / runs
    # It holds the share itself, whatever the rounding: 0 and 1 are ends.
    low, high = min(share, (centre - spread) / scale), max(share, (centre + spread) / scale)
    return max(0.0, low), min(1.0, high)


def will_fail(result: Result, stress_horizon: int) -> bool:
    """Whether a run is forecast to become unstable within so many steps, after those it made."""
    step = result.get("forecast_step")
    if step is None or result["forecast_confidence"] not in _TRUSTED:
        return False
    return bool(_JUDGED_SHARE * result["steps"] < step <= stress_horizon)


def violation(
    results: Sequence[Result], *, climb: float, give_back: float, stress_horizon: int = 0
) -> float:
    """How far the worst run is beyond its limits; <= 0 is feasible.

    max over runs of max(draw_up / climb, give_back / limit) - 1; 10 for a run that turned
    non-finite or hopeless or is forecast to fail, and at most 10.

    Args:
        stress_horizon: steps within which forecasts count; 0 for none.
    """
    worst = -1.0
    for result in results:
        if not result["finite"] or result["hopeless"] or will_fail(result, stress_horizon):
            return _WORST_VIOLATION
        worst = max(worst, result["draw_up"] / climb - 1, result["give_back"] / give_back - 1)
    return min(worst, _WORST_VIOLATION)


def trial_result(
    results: Sequence[Result],
    *,
    climb: float,
    give_back: float,
    cvar: float,
    stress_horizon: int = 0,
) -> dict[str, Any]:
    """Everything that is said of a trial, worst seed first in mind, in plain values."""
    failures = sum(bool(result["failed"]) for result in results)
    low, high = wilson_interval(failures, len(results))
    onsets = [r["onset_step"] for r in results if r["onset_step"] is not None]
    forecasts = [step for r in results if (step := r.get("forecast_step")) is not None]
    limits = {"climb": climb, "give_back": give_back}
    return {
        "robust_loss": robust_loss(results, cvar),
        "failure_fraction": failures / len(results),
        "failure_low": low,
        "failure_high": high,
        "violation": violation(results, **limits, stress_horizon=stress_horizon),
        "runs": len(results),
        "tail_loss": _worst(results, "tail_loss"),
        "best_loss": _worst(results, "best_loss"),
        "final_loss": _worst(results, "final_loss"),
        "draw_up": max(float(result["draw_up"]) for result in results),
        "give_back": max(float(result["give_back"]) for result in results),
        "spike_score": _worst_known(results, "spike_score"),
        "onset_step": min(onsets) if onsets else None,
        "forecast_step": min(forecasts, default=None),
        "sharpness": _worst_known(results, "sharpness"),
        "safe_eps": _worst_known(results, "safe_eps"),
        "stable_steps": min(int(result["stable_steps"]) for result in results),
        **_evaluation(results),
    }


def worst_run(results: Sequence[Result]) -> int:
    """Index of the worst run: failed before whole, then by cost."""
    known = costs(results)
    return max(range(len(results)), key=lambda i: (bool(results[i]["failed"]), known[i]))


def costs(results: Sequence[Result], *, is_log: bool | None = None) -> list[float]:
    """Costs of runs that can be compared, see `run_cost`.

    Args:
        is_log: logarithmic unless one of the runs had a negative loss, where not given.
    """
    if is_log is None:
        is_log = not any(result.get("negative") for result in results)
    return [run_cost(result, is_log=is_log) for result in results]


def _worst(results: Sequence[Result], name: str) -> float | None:
    values = [result[name] for result in results]
    return None if any(value is None for value in values) else max(float(v) for v in values)


def _worst_known(results: Sequence[Result], name: str) -> float | None:
    """Largest over the runs that have it: short runs don't, nor do those of older versions."""
    values = [result.get(name) for result in results]
    return max((float(value) for value in values if value is not None), default=None)


def _evaluation(results: Sequence[Result]) -> dict[str, float]:
    """Mean over the seeds of every metric that all of them have."""
    metrics = [result.get("evaluation") or {} for result in results]
    shared = set(metrics[0]).intersection(*metrics[1:])
    return {name: float(np.mean([m[name] for m in metrics])) for name in sorted(shared)}
