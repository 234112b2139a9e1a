"""One search, several ways to rank it: whose picks still hold when training goes on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reproductions import picks, wording
from reproductions.progress import Progress
from reproductions.runs import Outcome
from reproductions.scale import Scale
from reproductions.seeds import fresh
from reproductions.stability import problem
from sweeper.spec import SweepSpec, check

TITLE = "Which ranking picks settings that hold?"
HORIZON, LONGER, TRIALS, SEARCHES, TOP = 5_000, 4, 128, 3, 5


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
        ranked[search] = picks.of_sweep(_spec(search, horizon, scale), TOP)
    wanted = [config for tops in ranked.values() for top in tops.values() for config in top]
    different = len({picks.key(config) for config in wanted})
    progress.say(f"ranking: {wording.plural(different, 'setting')} on fresh seeds")
    task, seeds = problem.task(0), fresh(scale)
    same, longer = (
        picks.retrain(task, wanted, steps, seeds, compiled=scale.compiled)
        for steps in (horizon, LONGER * horizon)
    )
    return [
        Pick(search, policy, rank, config, same[picks.key(config)], longer[picks.key(config)])
        for search, tops in ranked.items()
        for policy, configs in tops.items()
        for rank, config in enumerate(configs, start=1)
    ]


def _spec(seed: int, horizon: int, scale: Scale) -> SweepSpec:
    return check(
        {
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
        }
    )
