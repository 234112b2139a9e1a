"""What TPE is shown of a long search: the best trials, and an even sample of the others.

TPE's cost of a proposal grows with the trials that it compares. Its model has two parts: the 25
best trials, and all others as a density of what is not so good. The latter needs no 10,000 points.

What is left out once never comes back when more trials are told: neither among the best, nor into
the sample. So the choice is a function of the set of told trials, in whatever order they came, and
a study that forgets what is left out chooses the same as one that is rebuilt from everything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import nsmallest

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

NUMBER = "number"
"""User attribute: the number of a trial among all searched ones; Optuna's own may be another."""

# Share of the best among what is shown.
_BEST_SHARE = 0.25
_BITS = 32


def shown(
    trials: Sequence[FrozenTrial], most: int, direction: StudyDirection
) -> list[FrozenTrial]:
    """At most `most` of the told trials, in their order.

    Args:
        trials: complete or pruned, each with its `NUMBER`.
        most: how many are shown.
        direction: of the objective.
    """
    if len(trials) <= most:
        return list(trials)
    n_best = math.ceil(_BEST_SHARE * most)
    best = {t.number for t in nsmallest(n_best, trials, key=lambda t: _cost(t, direction))}
    others = [trial for trial in trials if trial.number not in best]
    sample = {t.number for t in nsmallest(most - n_best, others, key=_priority)}
    return [trial for trial in trials if trial.number in best or trial.number in sample]


def _cost(trial: FrozenTrial, direction: StudyDirection) -> tuple[float, ...]:
    """The order in which TPE takes trials for good ones; a total one.

    Feasible trials by their value, pruned ones by how far they came, others by their violation.
    """
    number = trial.user_attrs[NUMBER]
    sign = 1.0 if direction == StudyDirection.MINIMIZE else -1.0
    violation = sum(value for value in trial.constraints.values() if value > 0)
    if violation > 0:
        return 2, violation, 0.0, number
    if trial.state == TrialState.COMPLETE:
        assert trial.value is not None
        return 0, sign * trial.value, 0.0, number
    step, value = max(trial.intermediate_values.items(), default=(-1, 0.0))
    return 1, -step, sign * value, number


def _priority(trial: FrozenTrial) -> int:
    """The bits of its number, reversed: the smallest ones are spread evenly over all numbers."""
    return int(f"{trial.user_attrs[NUMBER]:0{_BITS}b}"[::-1], 2)
