"""A real sweep of every task, and the first setting of every policy on fresh seeds for longer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproductions import picks, seeds
from reproductions.progress import Progress
from reproductions.runs import Outcome
from reproductions.scale import Scale
from sweeper.spec import SweepSpec, load
from sweeper.tasks.registry import TaskName

LONGER = 4
_FOLDER = Path(__file__).parent.parent.parent / "search_spaces"
_LEAST = 6  # trials of a search at a small scale


@dataclass(frozen=True, slots=True)
class Problem:
    """One task and how long it is searched.

    Args:
        file: in search_spaces/, whose space it is; `settings` differ from it.
    """

    name: str
    file: str
    horizon: int
    trials: int
    settings: Sequence[str] = ()


PROBLEMS = (
    Problem("perceptron", "perceptron", 5_000, 64),
    Problem("logistic", "logistic", 5_000, 48),
    Problem("digits MLP", "digits", 2_000, 48),
    Problem("digits CNN", "digits", 500, 24, ("task=digits_cnn",)),
    Problem("char_lm", "char_lm", 500, 24),
    Problem("multitask", "multitask", 500, 16),
)


@dataclass(frozen=True, slots=True)
class Pick:
    """What a policy puts first, trained anew on fresh seeds for longer."""

    problem: str
    policy: str
    config: Mapping[str, Any]
    outcomes: Sequence[Outcome]


def measure(
    scale: Scale, progress: Progress, problems: Sequence[Problem] = PROBLEMS
) -> list[Pick]:
    """The first pick of every policy on every problem."""
    return [pick for one in problems for pick in _of(one, scale, progress)]


def _of(problem: Problem, scale: Scale, progress: Progress) -> list[Pick]:
    spec = _spec(problem, scale)
    progress.say(f"{problem.name}: a sweep of {spec.budget.trials} trials")
    firsts = {policy: top[0] for policy, top in picks.of_sweep(spec, 1).items()}
    steps = LONGER * scale.steps(problem.horizon)
    progress.say(f"{problem.name}: the picks on fresh seeds, {steps:,} steps")
    task = TaskName(spec.task, spec.task_args, spec.task_options).build()
    again = picks.retrain(
        task, [*firsts.values()], steps, seeds.fresh(scale), compiled=scale.compiled
    )
    return [
        Pick(problem.name, policy, config, again[picks.key(config)])
        for policy, config in firsts.items()
    ]


def _spec(problem: Problem, scale: Scale) -> SweepSpec:
    # Two seeds everywhere, and a test long enough for four settings: searches are small here.
    settings = (
        *problem.settings,
        f"horizon={scale.steps(problem.horizon)}",
        f"budget.trials={max(_LEAST, scale.count(problem.trials))}",
        "seeds=2",
        f"stress={{top: 4, seeds: 5, horizon: {LONGER}x, neighbours: 0, budget: 2}}",
    )
    return load(_FOLDER / f"{problem.file}.yaml", settings)
