"""One search, several ways to rank it: whose picks still hold when training goes on?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from rich.console import Console

import sweeper
from reproductions.progress import Progress
from reproductions.runs import Order, Outcome, train
from reproductions.scale import Scale
from reproductions.stability import problem, wording
from sweeper.results.sweep import SweepHandle
from sweeper.study.database import STRESS
from sweeper.study.standing import order, results_of

TITLE = "Which ranking picks settings that hold?"
HORIZON, LONGER, TRIALS, SEARCHES, TOP = 5_000, 4, 128, 3, 5
# Seeds that no search has seen.
FRESH = (100, 101, 102, 103, 104)
POLICIES = {
    "best": "lowest loss",
    "final": "final loss",
    "early": "early loss",
    "search": "sweeper, search alone",
    "robust": "sweeper",
}


@dataclass(frozen=True, slots=True)
class Pick:
    """A setting that a policy put among its first, trained anew on fresh seeds.

    Args:
        same, longer: runs at the horizon of the search, and at four times of it.
    """

    search: int
    policy: str
    rank: int
    config: Mapping[str, Any]
    same: Sequence[Outcome]
    longer: Sequence[Outcome]


def measure(scale: Scale, progress: Progress) -> list[Pick]:
    """All picks of all searches."""
    horizon = scale.steps(HORIZON)
    ranked = {}
    for search in range(scale.count(SEARCHES)):
        progress.say(f"ranking: search {search + 1} of {scale.count(SEARCHES)}")
        ranked[search] = _search(search, horizon, scale)
    wanted = {
        json.dumps(config, sort_keys=True): config
        for tops in ranked.values()
        for configs in tops.values()
        for config in configs
    }
    progress.say(f"ranking: {wording.plural(len(wanted), 'setting')} on fresh seeds")
    seeds = FRESH[: scale.count(len(FRESH))]
    same = _retrain(wanted, horizon, scale, seeds)
    longer = _retrain(wanted, LONGER * horizon, scale, seeds)
    return [
        Pick(search, policy, rank, config, same[key], longer[key])
        for search, tops in ranked.items()
        for policy, configs in tops.items()
        for rank, config in enumerate(configs, start=1)
        for key in (json.dumps(config, sort_keys=True),)
    ]


def _search(seed: int, horizon: int, scale: Scale) -> dict[str, list[dict[str, Any]]]:
    """The first settings of every policy, from a real sweep in this process."""
    with tempfile.TemporaryDirectory(prefix="reproduction-") as folder:
        spec = {
            "name": "ranking",
            "task": "perceptron",
            "horizon": horizon,
            "seeds": 2,
            "baseline": problem.ADAM,
            "space": {
                "optimizer": "adam",
                "lr": {"log_uniform": [1e-5, 1e-1]},
                "eps": {"log_uniform": [1e-10, 1.0]},
                "beta1": {"uniform": [0.5, 0.98]},
                "beta2": {"one_minus_log_uniform": [1e-4, 0.2]},
                "schedule": {"choice": {"constant": {}, "cosine": {"final": 0.0}}},
            },
            "search": {"sampler": "random", "seed": seed},
            "budget": {"trials": max(TOP, scale.count(TRIALS))},
            "storage": folder,
        }
        handle = sweeper.launch(spec, local=True, console=Console(quiet=True))
        tops = {policy: handle.best(TOP, by=policy) for policy in POLICIES if policy != "search"}
        tops["search"] = _without_stress_test(handle)[:TOP]
        return {policy: [row["config"] for row in tops[policy]] for policy in POLICIES}


def _without_stress_test(handle: SweepHandle) -> list[dict[str, Any]]:
    """The ranking as it would be had the sweep ended with its search."""
    with closing(handle.folder.database()) as database:
        trials = [trial for trial in database.trials() if trial.origin != STRESS]
        results = results_of(database)
    return order(handle.spec, trials, results)


def _retrain(
    wanted: Mapping[str, Mapping[str, Any]], horizon: int, scale: Scale, seeds: Sequence[int]
) -> dict[str, list[Outcome]]:
    orders = [Order(config, horizon, seed) for config in wanted.values() for seed in seeds]
    outcomes = train(problem.task(0), orders, compiled=scale.compiled)
    count = len(seeds)
    return {key: outcomes[i * count : (i + 1) * count] for i, key in enumerate(wanted)}
