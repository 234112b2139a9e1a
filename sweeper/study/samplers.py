"""Samplers by name, seeded per trial: each is a function of the told trials and of its seed.

So a search that is rebuilt from its database proposes what an uninterrupted one would have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from scipy.stats import qmc

from sweeper.space import Parameter, Range, Space
from sweeper.study.cma_sampler import Generations, ReplayedCMA
from sweeper.study.gp_sampler import KnownSpaceGP
from sweeper.study.nsga_sampler import NumberedNSGA2, Parents
from sweeper.study.tpe_sampler import Known, KnownSpaceTPE
from sweeper.study.unit_interval import from_unit

# Those that learn from told trials: few should be open at once.
ADAPTIVE = frozenset({"tpe", "gp", "nsga2", "cmaes"})

Maker = Callable[[int], BaseSampler]
"""Gives the sampler of a trial, by its number among the searched ones, from 0 on."""


def sampler_maker(name: str, seed: int, space: Space, most: int | None = None) -> Maker:
    """What makes the samplers of a search, one per trial.

    Args:
        name: tpe, gp, nsga2, cmaes, qmc or random.
        seed: of the search.
        space: that is searched.
        most: told trials that TPE is shown; None is all of them.
    """
    every = {p.name: distribution(p) for p in space.flat()}
    # Sorted: which parameter gets which random number must not depend on the order of keys.
    shared = {name: every[name] for name in sorted(p.name for p in space.shared())}
    known = Known(most)

    def others(number: int) -> KnownSpaceTPE:
        """For the parameters that a sampler doesn't know: TPE, one by one."""
        return KnownSpaceTPE({}, trial_seed(seed, number, "others"), known)

    if name == "qmc":
        return lambda number: SobolSampler(every, seed, number)
    if name == "random":
        return lambda number: optuna.samplers.RandomSampler(seed=trial_seed(seed, number))
    if name == "gp":
        return lambda number: KnownSpaceGP(shared, trial_seed(seed, number), others(number))
    if name == "nsga2":
        parents = Parents()
        return lambda number: NumberedNSGA2(shared, len(every), trial_seed(seed, number), parents)
    if name == "cmaes":
        ranges = {n: kind for n, kind in shared.items() if isinstance(kind, FloatDistribution)}
        generations = Generations(ranges)
        return lambda number: ReplayedCMA(generations, trial_seed(seed, number), others(number))
    assert name == "tpe", name
    return lambda number: KnownSpaceTPE(shared, trial_seed(seed, number), known)


def trial_seed(seed: int, number: int, purpose: str = "") -> int:
    """A seed for one trial, the same in every process."""
    digest = hashlib.sha256(f"{seed}/{number}{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def distribution(parameter: Parameter) -> BaseDistribution:
    """The Optuna distribution of what is drawn for a parameter."""
    if isinstance(parameter, Range):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.is_log)
    return CategoricalDistribution(parameter.labels)


class SobolSampler(BaseSampler):
    """A scrambled Sobol point over the flat union of a conditional space (Sobol 1967, Owen 1998).

    Optuna's own QMCSampler takes the space of the first trial and falls back to random numbers for
    the branches that are not in it.

    Args:
        every: the parameters of the space, those of all branches included.
    """

    def __init__(self, every: Mapping[str, BaseDistribution], seed: int, number: int) -> None:
        engine = qmc.Sobol(d=max(1, len(every)), scramble=True, rng=seed)
        if number:  # it can't go forward by 0
            engine.fast_forward(number)
        point = engine.random(1)[0]
        self._point = {name: float(u) for name, u in zip(every, point, strict=False)}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        del study, trial
        return {}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        del study, trial, search_space
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        del study, trial
        return from_unit(param_distribution, self._point[param_name])
