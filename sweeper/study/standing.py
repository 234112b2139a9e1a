"""The order of the told trials of a sweep, from its database."""

from __future__ import annotations

from typing import Any

from sweeper.ranking.evidence import Evidence
from sweeper.ranking.ranking import rank
from sweeper.ranking.robust import on_front
from sweeper.spec import SweepSpec
from sweeper.study.database import Database

# `early` ranks by the loss at this share of the horizon: the first rung of a usual pruner.
_EARLY_SHARE = 0.1


def standing(database: Database, spec: SweepSpec, policy: str = "robust") -> list[dict[str, Any]]:
    """Every told trial in order: `rank`, `trial`, `origin`, its results and its `config`.

    Where the search has several objectives, `pareto` says whether a trial is on their front.

    Raises:
        SweepError: unknown policy, or no trial has what it ranks by.
    """
    told = [trial for trial in database.trials() if trial.result is not None]
    runs: dict[int, list[dict[str, Any]]] = {trial.number: [] for trial in told}
    for row in database.runs():
        if row.run.trial in runs and row.result is not None:
            runs[row.run.trial].append(row.result)
    evidence = Evidence(
        runs=runs,
        cvar=spec.stability.limits().cvar,
        early_step=round(_EARLY_SHARE * spec.horizon),
        objectives=spec.objectives,
    )
    table = [
        {"trial": t.number, "origin": t.origin, **(t.result or {}), "config": t.config}
        for t in told
    ]
    if len(spec.objectives) > 1:
        front = on_front(table, evidence)
        table = [{**row, "pareto": bool(is_on)} for row, is_on in zip(table, front, strict=True)]
    return rank(table, policy, evidence)
