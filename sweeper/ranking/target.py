"""The loss that a run has to reach, and when it did: `steps_to_target`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweeper.ranking.evidence import Row, finite
from sweeper.ranking.objective import Result


def choose_target(trials: Sequence[Row], given: float | None = None) -> float | None:
    """The loss whose first step counts as `steps_to_target`.

    The given one; else the tail loss of the baseline (the lowest of several); else the median of
    the sweep, half of which reaches it.

    Args:
        trials: each with `tail_loss`, None where it has no tail, and `origin` where known.
        given: by the user.

    Returns:
        None where no trial has a finite tail loss.
    """
    if given is not None:
        return given
    tails = [(finite(t.get("tail_loss")), t.get("origin") == "baseline") for t in trials]
    of_baselines = [tail for tail, is_baseline in tails if is_baseline and np.isfinite(tail)]
    if of_baselines:
        return min(of_baselines)
    every = [tail for tail, _ in tails if np.isfinite(tail)]
    return float(np.median(every)) if every else None


def steps_to_target(results: Sequence[Result], loss: float) -> int | None:
    """Step by which every run of a trial has been at a loss; None where one of them never was.

    Args:
        results: verdicts with their thinned curves, rows `[step, loss, ...]` at about 40
            log-spaced steps: the answer is at most a fourth too large.
    """
    steps = [_first_step(result, loss) for result in results]
    known = [step for step in steps if step is not None]
    return max(known) if known and len(known) == len(steps) else None


def _first_step(result: Result, loss: float) -> int | None:
    points = ((int(row[0]), row[1]) for row in result.get("curve") or ())
    return next((step for step, value in points if value is not None and value <= loss), None)
