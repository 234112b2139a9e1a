"""The policy `robust`: what holds first, then the objective as far as the seeds can tell it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from sweeper.ranking.bootstrap import standard_error
from sweeper.ranking.evidence import Evidence, Row, failure_fraction, finite, is_feasible
from sweeper.ranking.front import pareto_front
from sweeper.ranking.objective import costs, cvar_mean, wilson_interval
from sweeper.ranking.objectives import Objective, metric_costs, metric_value, objective_value

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

    A metric takes the place of robust_loss where the search optimised one. Of several objectives
    the Pareto front comes before all of this, and what counts in 3 and 6 is the first objective,
    without bins.
    """
    losses = objective_costs(trials, evidence)[:, 0]
    feasible = np.array([is_feasible(trial) for trial in trials], dtype=bool)
    is_several = len(evidence.objectives) > 1
    front = on_front(trials, evidence) if is_several else np.ones(len(trials), dtype=bool)
    width = 0.0 if is_several else resolution(trials, evidence, feasible)
    bins = loss_bins(losses, feasible, width)
    return [
        (
            float(not front[index]),
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


def objective_costs(trials: Sequence[Row], evidence: Evidence) -> np.ndarray:
    """Every objective as something to minimise, `[n, m]`; infinite where a trial has no value."""
    is_log = not evidence.has_negative
    return np.array(
        [
            [
                _loss(t, evidence, is_log=is_log) if one.is_loss else _metric(t, evidence, one)
                for one in evidence.objectives
            ]
            for t in trials
        ]
    ).reshape(len(trials), len(evidence.objectives))


def on_front(trials: Sequence[Row], evidence: Evidence) -> np.ndarray:
    """Which trials are on the Pareto front of those that hold, in a stress test too, `[n]`."""
    stress = evidence.stress
    holds = [
        is_feasible(t) and not any(run["failed"] for run in stress.get(t["trial"], ()))
        for t in trials
    ]
    held = np.array(holds, dtype=bool)
    return pareto_front(np.where(held[:, None], objective_costs(trials, evidence), np.inf))


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
    be no order. Losses that may be negative have no decades, and no least width; nor do metrics.
    """
    first = evidence.objectives[0]
    is_log = first.is_loss and not evidence.has_negative
    chosen = [t for t, ok in zip(trials, feasible, strict=True) if ok or not feasible.any()]
    several = [runs for runs in map(evidence.of, chosen) if len(runs) > 1]
    statistic = partial(cvar_mean, share=evidence.cvar)
    known = [costs(r, is_log=is_log) if first.is_loss else metric_costs(r, first) for r in several]
    errors = [
        standard_error(one, statistic, seed=evidence.seed)
        for one in known
        if np.isfinite(one).all()
    ]
    return max(float(np.median(errors)) if errors else 0.0, _LEAST_DECADES if is_log else 0.0)


def _loss(trial: Row, evidence: Evidence, *, is_log: bool) -> float:
    """robust_loss in the unit of all: the table has it per trial, decades where it could."""
    runs = evidence.of(trial)
    if runs and (trial["trial"] in evidence.stress or not is_log):
        return float(cvar_mean(np.array(costs(runs, is_log=is_log)), evidence.cvar))
    return finite(trial.get("robust_loss"))


def _metric(trial: Row, evidence: Evidence, objective: Objective) -> float:
    runs = evidence.of(trial)
    if runs:
        return objective.cost(metric_value(runs, objective, evidence.cvar))
    return objective.cost(objective_value(trial, objective))


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
