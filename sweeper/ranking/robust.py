"""The policy `robust`: what holds first, then the loss as far as the seeds can tell it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from sweeper.ranking.bootstrap import standard_error
from sweeper.ranking.evidence import Evidence, Row, failure_fraction, finite, is_feasible
from sweeper.ranking.objective import costs, cvar_mean, wilson_interval

# Losses closer than a factor of 2 are not told apart, however well the seeds agree.
_LEAST_DECADES = 0.3


def robust_keys(trials: Sequence[Row], evidence: Evidence) -> list[tuple[float, ...]]:
    """Sort keys of `robust`, the lowest first.

    1. Upper end of Wilson's 90 % interval of the failures: of the stress test where there was one,
       else of the search.
    2. Feasible trials: violation <= 0 and no failure in the search.
    3. robust_loss (of the stress test where there was one) in bins, see `loss_bins`.
    4. `steps_to_target`, the fewest; of the slowest run.
    5. `neighbourhood_width`, the widest.
    6. robust_loss itself, then the number of the trial.
    """
    is_log = not evidence.has_negative
    losses = np.array([_loss(trial, evidence, is_log=is_log) for trial in trials])
    feasible = np.array([is_feasible(trial) for trial in trials], dtype=bool)
    bins = loss_bins(losses, feasible, resolution(trials, evidence, feasible))
    return [
        (
            _failure_bound(trial, evidence),
            float(not feasible[index]),
            float(bins[index]),
            _steps_to_target(trial, evidence),
            -width if np.isfinite(width := finite(trial.get("neighbourhood_width"))) else np.inf,
            float(losses[index]),
            int(trial["trial"]),
        )
        for index, trial in enumerate(trials)
    ]


def loss_bins(losses: np.ndarray, feasible: np.ndarray, width: float) -> np.ndarray:
    """Numbers of the bins of losses, `[n]`, counted from the best feasible loss on.

    Bins and not pairs: "not worse by more than `width`" is no order, for a can be as good as b and
    b as c, yet a better than c. So two losses closer than `width` may lie in two bins.

    Args:
        losses: `[n]`, infinite where there is none.
        feasible: `[n]`; where none is, bins are counted from the best loss of all.
        width: of a bin; 0 for the losses themselves.
    """
    known = np.isfinite(losses)
    anchors = losses[known & feasible] if (known & feasible).any() else losses[known]
    if not anchors.size:
        return np.full(losses.shape, np.inf)
    with np.errstate(over="ignore"):
        above = losses - anchors.min()
        return np.asarray(np.floor(above / width) if width > 0 else above)


def resolution(trials: Sequence[Row], evidence: Evidence, feasible: np.ndarray) -> float:
    """Width of the bins: the standard error of robust_loss over the seeds, at least 0.3 decades.

    The median of the feasible trials, or of all where none is: one width for all, else there would
    be no order. Losses that may be negative have no decades, and no least width.
    """
    is_log = not evidence.has_negative
    chosen = [t for t, ok in zip(trials, feasible, strict=True) if ok or not feasible.any()]
    several = [runs for runs in map(evidence.of, chosen) if len(runs) > 1]
    statistic = partial(cvar_mean, share=evidence.cvar)
    errors = [
        standard_error(costs(runs, is_log=is_log), statistic, seed=evidence.seed)
        for runs in several
    ]
    return max(float(np.median(errors)) if errors else 0.0, _LEAST_DECADES if is_log else 0.0)


def _loss(trial: Row, evidence: Evidence, *, is_log: bool) -> float:
    """robust_loss in the unit of all: the table has it per trial, decades where it could."""
    runs = evidence.of(trial)
    if runs and (trial["trial"] in evidence.stress or not is_log):
        return float(cvar_mean(np.array(costs(runs, is_log=is_log)), evidence.cvar))
    return finite(trial.get("robust_loss"))


def _failure_bound(trial: Row, evidence: Evidence) -> float:
    stress = evidence.stress.get(trial["trial"])
    if stress:
        return wilson_interval(sum(bool(run["failed"]) for run in stress), len(stress))[1]
    if np.isfinite(known := finite(trial.get("failure_high"))):
        return known
    runs = int(trial.get("runs") or 1)
    return wilson_interval(failure_fraction(trial) * runs, runs)[1]


def _steps_to_target(trial: Row, evidence: Evidence) -> float:
    runs = evidence.of(trial)
    if any("steps_to_target" in run for run in runs):
        return max(finite(run.get("steps_to_target")) for run in runs)
    return finite(trial.get("steps_to_target"))
