"""TPE that is told which parameters every trial has, and keeps what it knows between proposals.

Optuna's own (Bergstra et al. 2011; Watanabe 2023, arXiv:2304.11127) reads and sorts all trials for
every proposal. This one draws the same at a third of the cost, and bounds that by showing a long
search in part (sweeper.study.history).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.sampler import (
    TPESampler,
    _split_trials,
    default_gamma,
    default_gamma_multiobjective,
)
from optuna.trial import FrozenTrial, TrialState

from sweeper.study import history

_TOLD = (TrialState.COMPLETE, TrialState.PRUNED)
Names = tuple[str, ...]


class Known:
    """What TPE knows of the trials of a study, kept from one proposal to the next.

    Args:
        most: told trials of one objective that it is shown; None is all of them.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._study: optuna.Study | None = None
        self._told = -1
        self._good: list[FrozenTrial] = []
        self._others: list[FrozenTrial] = []
        self._tables: dict[Names, tuple[_Table, _Table]] = {}
        self._rows: dict[Names, dict[int, tuple[float, ...] | None]] = {}

    def points(
        self,
        sampler: KnownSpaceTPE,
        study: optuna.Study,
        trial: FrozenTrial,
        space: Mapping[str, BaseDistribution],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Good trials, and all others with those that run, `[n, P]` each, the oldest first.

        Args:
            trial: that is proposed.
            space: the P parameters; trials that lack one are left out.
        """
        trials = study._get_trials(deepcopy=False, use_cache=True)
        self._catch_up(study, [one for one in trials if one.state in _TOLD])
        names = tuple(space)
        if names not in self._tables:
            self._tables[names] = (
                self._table(sampler, study, space, self._good),
                self._table(sampler, study, space, self._others),
            )
        good, others = self._tables[names]
        running = [
            one for one in trials if one.state == TrialState.RUNNING and one.number != trial.number
        ]
        return good.rows, others.with_rows_of(self._table(sampler, study, space, running))

    def _catch_up(self, study: optuna.Study, told: list[FrozenTrial]) -> None:
        if study is self._study and len(told) == self._told:
            return
        if study is not self._study:
            self._study, self._rows = study, {}
        self._told, self._tables = len(told), {}
        is_single = len(study.directions) == 1
        if self._most is not None and is_single:
            told = history.shown(told, self._most, study.direction)
        gamma = default_gamma if is_single else default_gamma_multiobjective
        self._good, self._others = _split_trials(study, told, gamma(len(told)))

    def _table(
        self,
        sampler: KnownSpaceTPE,
        study: optuna.Study,
        space: Mapping[str, BaseDistribution],
        trials: Sequence[FrozenTrial],
    ) -> _Table:
        known = self._rows.setdefault(tuple(space), {})
        numbers: list[int] = []
        rows: list[tuple[float, ...]] = []
        for one in trials:
            if one.number not in known:
                known[one.number] = _row(sampler._get_params(one, study), space)
            row = known[one.number]
            if row is not None:
                numbers.append(one.number)
                rows.append(row)
        table = np.asarray(rows, dtype=np.float64).reshape(len(rows), len(space))
        return _Table(np.asarray(numbers, dtype=np.int64), table)


class _Table:
    """Parameters of some trials in Optuna's own numbers, `[n, P]`, and the trials' numbers."""

    def __init__(self, numbers: NDArray[np.int64], rows: NDArray[np.float64]) -> None:
        self.numbers, self.rows = numbers, rows

    def with_rows_of(self, more: _Table) -> NDArray[np.float64]:
        """The rows of both, the oldest first: TPE weighs them by age."""
        order = np.argsort(np.concatenate([self.numbers, more.numbers]))
        rows: NDArray[np.float64] = np.concatenate([self.rows, more.rows])[order]
        return rows


class KnownSpaceTPE(TPESampler):
    """Multivariate TPE over the shared parameters; those of a branch are drawn one by one.

    For several objectives all are drawn one by one, as Optuna does by default.

    Args:
        shared: parameters that every trial has.
        seed: of the trial.
        known: shared by the samplers of a search.
    """

    def __init__(self, shared: Mapping[str, BaseDistribution], seed: int, known: Known) -> None:
        super().__init__(seed=seed)
        self._shared, self._known = dict(shared), known

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        del trial
        return dict(self._shared) if len(study.directions) == 1 else {}

    def _sample(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        good, others = self._known.points(self, study, trial, search_space)
        is_single = len(study.directions) == 1
        below = self._density(good, search_space, None if is_single else np.ones(len(good)))
        above = self._density(others, search_space)
        candidates = below.sample(self._rng.rng, self._n_ei_candidates)
        worth = self._compute_acquisition_func(candidates, below, above)
        best = self._compare(candidates, worth)
        return {name: kind.to_external_repr(best[name]) for name, kind in search_space.items()}

    def _density(
        self,
        rows: NDArray[np.float64],
        space: dict[str, BaseDistribution],
        weights: NDArray[np.float64] | None = None,
    ) -> _ParzenEstimator:
        columns = dict(zip(space, rows.T, strict=True))
        return _ParzenEstimator(columns, space, self._parzen_estimator_parameters, weights)


def _row(
    params: Mapping[str, Any], space: Mapping[str, BaseDistribution]
) -> tuple[float, ...] | None:
    """The parameters of a trial in Optuna's own numbers; None where it lacks one of them."""
    if not space.keys() <= params.keys():
        return None
    return tuple(kind.to_internal_repr(params[name]) for name, kind in space.items())
