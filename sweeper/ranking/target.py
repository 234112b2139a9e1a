"""The loss that a run has to reach, for `steps_to_target`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweeper.ranking.evidence import Row, finite


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
