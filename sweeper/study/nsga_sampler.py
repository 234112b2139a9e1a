"""NSGA-II whose generations are a function of the told trials (Deb et al. 2002).

Optuna keeps a trial's generation, and the parents of each, beside the trials; a restart would lose
both. Here generation g is the trials g * 16 to (g + 1) * 16 - 1, and its parents are chosen from
what is told of the earlier ones when a trial is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers.nsgaii import SBXCrossover
from optuna.trial import FrozenTrial, TrialState

# Optuna has 50; a sweep of 64 trials, the default, would be over before the second generation.
POPULATION = 16


class Parents:
    """Parents by generation, as far as nothing can change them any more, and how they cross."""

    def __init__(self) -> None:
        self.final: list[list[FrozenTrial]] = [[]]
        with warnings.catch_warnings():
            # Optuna's default exchanges numbers between parents and never makes a new one.
            warnings.simplefilter("ignore", ExperimentalWarning)
            self.crossover = SBXCrossover()


class NumberedNSGA2(optuna.samplers.NSGAIISampler):
    """NSGA-II over the shared parameters; the others are inherited where a parent has them.

    Args:
        shared: parameters that every trial has.
        count: parameters of the space, those of all branches included.
        seed: of the trial.
        parents: shared by the samplers of a search.
    """

    def __init__(
        self, shared: Mapping[str, BaseDistribution], count: int, seed: int, parents: Parents
    ) -> None:
        super().__init__(population_size=POPULATION, seed=seed, crossover=parents.crossover)
        self._shared = {name: kind for name, kind in shared.items() if not kind.single()}
        self._parents, self._mutation = parents, 1 / max(1, count)
        self._generator = np.random.default_rng([seed, 1])

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        del study, trial
        return dict(self._shared)

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        del study
        return trial.number // POPULATION

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        trials = study.get_trials(deepcopy=False)
        own = trials[generation * POPULATION : (generation + 1) * POPULATION]
        return [trial for trial in own if trial.state == TrialState.COMPLETE]

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        final = self._parents.final
        parents = final[min(generation, len(final) - 1)]
        open_trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        first_open = min((trial.number for trial in open_trials), default=0)
        for number in range(len(final), generation + 1):
            pool = self.get_population(study, number - 1) + parents
            parents = self._elite_population_selection_strategy(study, pool) if pool else []
            if number * POPULATION <= first_open:
                final.append(parents)
        return parents

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        parents = self.get_parent_population(study, self.get_trial_generation(study, trial))
        if len(parents) < 2 or not search_space:  # at random
            return {}
        return self._child_generation_strategy(study, search_space, parents)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        # A shared one that comes here is a mutation.
        if param_name not in self._shared and self._generator.random() >= self._mutation:
            generation = self.get_trial_generation(study, trial)
            parents = self.get_parent_population(study, generation)
            known = [one.params[param_name] for one in parents if param_name in one.params]
            if known:
                return known[self._generator.integers(len(known))]
        return super().sample_independent(study, trial, param_name, param_distribution)
