"""A Gaussian process that is told which parameters every trial has; Optuna reads all for that."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution


class KnownSpaceGP(optuna.samplers.GPSampler):
    """A Gaussian process over the shared parameters, choices included, and one for the violation.

    It keeps no fit from trial to trial: then it depends on the trials alone, which a restart has.

    Args:
        shared: parameters that every trial has.
        seed: of the trial.
        others: draws the parameters of branches.
    """

    def __init__(
        self,
        shared: Mapping[str, BaseDistribution],
        seed: int,
        others: optuna.samplers.BaseSampler,
    ) -> None:
        super().__init__(seed=seed, independent_sampler=others, warn_independent_sampling=False)
        self._shared = {name: kind for name, kind in shared.items() if not kind.single()}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        del study, trial
        return dict(self._shared)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        with warnings.catch_warnings():
            # A trial without a value is as bad as the worst that has one: as it should be.
            warnings.filterwarnings("ignore", message="Clip non-finite values")
            return super().sample_relative(study, trial, search_space)
