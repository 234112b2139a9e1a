"""The eps above which a full-batch run can't reach its threshold, in closed form.

A divisor P = sqrt(v) + eps is at least eps, so S = lr lambda_max(P^-1/2 H P^-1/2) is at most
lr lambda_max(H) / eps: with eps >= lr lambda_max(H) / threshold at every step it never exceeds the
threshold. For Adam at a constant lr that is lr lambda_max(H) (1 - beta1) / (2 (1 + beta1)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweeper.optim.configuration import Configuration
from sweeper.stability import course, preconditioner
from sweeper.stability.threshold import no_threshold, threshold


@dataclass(frozen=True, slots=True)
class SafeEps:
    """An eps that is large enough.

    Args:
        value: in the convention of the configuration; None where there is none.
        reason: what it promises, or why there is none.
    """

    value: float | None
    reason: str


def safe_eps(
    configuration: Configuration, horizon: int, curvature: float, *, full_batch: bool
) -> SafeEps:
    """The smallest eps that keeps a run below its threshold whatever its second moment.

    Sufficient, and smaller ones may do where the second moment stays large; local, for a Hessian
    that stays as it is: it moves on losses that are not quadratic. It depends on the scale of the
    loss (sum or mean), as the Hessian does.

    Args:
        horizon: steps of the run, >= 1.
        curvature: top eigenvalue of the Hessian of the loss, L2 weight decay left out.
    """
    reason = _obstacle(configuration, curvature, full_batch)
    if reason is not None:
        return SafeEps(None, reason)
    step = np.arange(horizon, dtype=np.float64)
    decay = 0.0 if configuration.is_decoupled else float(configuration.values["weight_decay"])
    needed = course.learning_rate(configuration, horizon, step) * (curvature + decay)
    needed = needed / threshold(configuration, horizon, step)
    if preconditioner.is_eps_corrected(configuration):
        needed = needed / preconditioner.correction(configuration, step + 1)
    if np.isnan(needed).all():
        return SafeEps(None, "no step of this run is preconditioned")
    return SafeEps(
        float(np.nanmax(needed)),
        "sufficient for the full batch as long as the curvature stays as it is",
    )


def _obstacle(configuration: Configuration, curvature: float, full_batch: bool) -> str | None:
    if configuration.rule == "sgd":
        return f"{configuration.optimizer} divides by nothing: it has no eps"
    missing = no_threshold(configuration)
    if missing is not None:
        return missing
    if not full_batch:
        return "mini-batches: single batches are sharper than the whole, by an unknown amount"
    if not (np.isfinite(curvature) and curvature > 0):
        return f"no positive curvature: {curvature:g}"
    return None
