"""What the rankings of one real sweep put first, and those settings anew on fresh seeds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from rich.console import Console

import sweeper
from reproductions.runs import Order, Outcome, train
from sweeper.results.sweep import SweepHandle
from sweeper.spec import SweepSpec
from sweeper.study.database import STRESS
from sweeper.study.standing import order, results_of
from sweeper.tasks.task import Task

POLICIES = {
    "best": "lowest loss",
    "final": "final loss",
    "early": "early loss",
    "search": "sweeper, search alone",
    "robust": "sweeper",
}
"""What they are called on the page; `search` is `robust` before the stress test."""


def of_sweep(spec: SweepSpec, count: int) -> dict[str, list[dict[str, Any]]]:
    """The first `count` settings of every policy, from a real sweep in this process."""
    with tempfile.TemporaryDirectory(prefix="reproduction-") as folder:
        here = spec.model_copy(update={"storage": folder})
        handle = sweeper.launch(here, local=True, console=Console(quiet=True))
        tops = {policy: handle.best(count, by=policy) for policy in POLICIES if policy != "search"}
        tops["search"] = _without_stress_test(handle)[:count]
        return {policy: [row["config"] for row in tops[policy]] for policy in POLICIES}


def _without_stress_test(handle: SweepHandle) -> list[dict[str, Any]]:
    """The ranking as it would be had the sweep ended with its search."""
    with closing(handle.folder.database()) as database:
        trials = [trial for trial in database.trials() if trial.origin != STRESS]
        results = results_of(database)
    return order(handle.spec, trials, results)


def key(config: Mapping[str, Any]) -> str:
    """What is equal for equal settings."""
    return json.dumps(config, sort_keys=True)


def retrain(
    task: Task,
    configs: Sequence[Mapping[str, Any]],
    horizon: int,
    seeds: Sequence[int],
    *,
    compiled: bool,
) -> dict[str, list[Outcome]]:
    """Each different setting once, on every seed, by its key."""
    wanted = {key(config): config for config in configs}
    orders = [Order(config, horizon, seed) for config in wanted.values() for seed in seeds]
    outcomes = train(task, orders, compiled=compiled)
    count = len(seeds)
    return {name: outcomes[i * count : (i + 1) * count] for i, name in enumerate(wanted)}
