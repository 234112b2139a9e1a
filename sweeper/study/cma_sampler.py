"""CMA-ES whose state is a function of the told trials (Hansen 2016, arXiv:1604.00772).

Optuna's own CmaEsSampler keeps its state, pickled, beside the trials, and knows no constraints.
Here generation g is the trials g * n to (g + 1) * n - 1, and the distribution is replayed from the
generations that are told wholly. So a restart goes on as it would have, and nothing is lost when
more trials are open than a generation has: they are drawn from an older distribution and count all
the same. What the update takes is their order alone: feasible trials by their value, then the
others by their violation, then those that were given up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from cmaes import CMA
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.study.unit_interval import from_unit, to_unit

# Standard deviation of the first generation, in shares of a range; as Optuna has it.
_SIGMA = 1 / 6


class Generations:
    """The distribution after the generations that are told, kept from one trial to the next.

    Args:
        ranges: by name, at least one.
    """

    def __init__(self, ranges: Mapping[str, FloatDistribution]) -> None:
        self.ranges = dict(ranges)
        count = len(self.ranges)
        bounds = np.tile([0.0, 1.0], (count, 1))
        self._cma = CMA(mean=np.full(count, 0.5), sigma=_SIGMA, bounds=bounds, seed=0)

    def draw(self, study: optuna.Study, seed: int) -> dict[str, float]:
        """A point of the latest distribution, which depends on the told trials and the seed."""
        self._catch_up(study)
        self._cma.reseed_rng(seed)
        point = self._cma.ask()
        return {
            name: from_unit(kind, float(u))
            for (name, kind), u in zip(self.ranges.items(), point, strict=True)
        }

    def _catch_up(self, study: optuna.Study) -> None:
        trials, size = study.get_trials(deepcopy=False), self._cma.population_size
        while True:
            first = self._cma.generation * size
            generation = trials[first : first + size]
            if len(generation) < size or not all(t.state.is_finished() for t in generation):
                return
            ordered = sorted(generation, key=lambda trial: _key(trial, study.direction))
            self._cma.tell([(self._point(t), float(place)) for place, t in enumerate(ordered)])

    def _point(self, trial: FrozenTrial) -> np.ndarray:
        return np.array([to_unit(kind, trial.params[n]) for n, kind in self.ranges.items()])


class ReplayedCMA(optuna.samplers.BaseSampler):
    """CMA-ES over the ranges that every trial has.

    Args:
        generations: shared by the samplers of a search.
        seed: of the trial.
        others: draws choices and the parameters of branches.
    """

    def __init__(
        self, generations: Generations, seed: int, others: optuna.samplers.BaseSampler
    ) -> None:
        self._generations, self._seed, self._others = generations, seed, others

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        del study, trial
        return dict(self._generations.ranges)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        del trial, search_space
        return dict(self._generations.draw(study, self._seed))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._others.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._others.after_trial(study, trial, state, values)


def _key(trial: FrozenTrial, direction: StudyDirection) -> tuple[int, float]:
    """Where a trial stands in its generation."""
    if trial.state != TrialState.COMPLETE or trial.value is None:
        return 2, 0.0
    violation = max(trial.constraints.values(), default=0.0)
    if violation > 0:
        return 1, violation
    return 0, -trial.value if direction == StudyDirection.MAXIMIZE else trial.value
