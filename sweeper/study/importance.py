"""How much each hyperparameter decides, by Optuna's PED-ANOVA on the told trials of a search.

Conditional PED-ANOVA (arXiv:2601.20800) compares how the trials of a group are spread over each
parameter with how all of them are: 0 where the group tells nothing, and the shares sum to 1. It
knows parameters that only some branch has, and is quick.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import create_trial

from sweeper.space import Space
from sweeper.study.samplers import distribution
from sweeper.study.tables import SEARCH, Trial

# Of fewer trials, or of a smaller group, nothing can be said.
_LEAST_TRIALS, _LEAST_GROUP = 10, 2
# The group of the best: large enough for a small sweep.
_BEST_SHARE = 0.25


def importance_for_cost(
    space: Space, trials: Sequence[Trial], costs: Mapping[int, float]
) -> dict[str, float]:
    """Share of each parameter in what makes a trial one of the best quarter, the largest first.

    Args:
        space: that was searched.
        trials: of the sweep; those that were drawn from the space count.
        costs: to minimise, by the trial's number; a trial without a number is among the worst.

    Returns:
        Empty where there are too few trials, or where all cost the same.
    """
    told = [trial for trial in _drawn(trials) if trial.number in costs]
    known = [costs[trial.number] for trial in told]
    finite = [cost for cost in known if math.isfinite(cost)]
    if not finite:
        return {}
    worst = max(finite) + 1.0
    values = [cost if math.isfinite(cost) else worst for cost in known]
    return _shares(space, told, values, _BEST_SHARE)


def importance_for_failure(
    space: Space, trials: Sequence[Trial], failed: Mapping[int, bool]
) -> dict[str, float]:
    """Share of each parameter in what tells trials that failed from those that held.

    Args:
        failed: by the trial's number.

    Returns:
        Empty where there are too few trials, or where nearly all of them did the same.
    """
    told = [trial for trial in _drawn(trials) if trial.number in failed]
    count = sum(failed[trial.number] for trial in told)
    # The smaller group says more: the larger one is spread as all are.
    is_failure_rare = 2 * count <= len(told)
    values = [float(failed[trial.number] != is_failure_rare) for trial in told]
    group = min(count, len(told) - count)
    if group < _LEAST_GROUP:
        return {}
    return _shares(space, told, values, group / len(told))


def _drawn(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.origin == SEARCH and trial.result is not None]


def _shares(
    space: Space, trials: Sequence[Trial], values: Sequence[float], share: float
) -> dict[str, float]:
    """Importances of being among the lowest values."""
    if len(trials) < _LEAST_TRIALS or len(set(values)) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {p.name: distribution(p) for p in space.flat()}
    study = optuna.create_study()
    study.add_trials(
        [
            create_trial(
                value=value,
                params=trial.draws,
                distributions={name: distributions[name] for name in trial.draws},
            )
            for trial, value in zip(trials, values, strict=True)
        ]
    )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=share)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    if not all(map(math.isfinite, found.values())):
        return {}
    return dict(sorted(found.items(), key=lambda item: -item[1]))
