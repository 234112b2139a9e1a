"""The policies by which trials are ranked, by name. Each gives a sort key per trial.

- `robust`, the default: see sweeper.ranking.robust.
- `final`, `best`, `early`: mean over the seeds of the final loss, of the lowest loss, of the loss
  at an early step, as other tools rank. They don't know whether a run holds: `best` doesn't see a
  late climb at all, `final` not one that came back, and `early` is what a pruner goes by.
- `lr_sensitivity`: see sweeper.ranking.lr_sensitivity.

The last part of a key is the number of the trial, so that each is a total order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from sweeper.errors import SweepError
from sweeper.ranking.evidence import Evidence, Row, mean_over_seeds
from sweeper.ranking.lr_sensitivity import lr_sensitivity_keys
from sweeper.ranking.objective import Result
from sweeper.ranking.robust import robust_keys

Keys = Callable[[Sequence[Row], Evidence], list[tuple[float, ...]]]

# What `final`, `best`, `early` and `lr_sensitivity` rank by.
LOSSES = ("final_loss", "best_loss", "early_loss", "first_loss")


def final_keys(trials: Sequence[Row], evidence: Evidence) -> list[tuple[float, ...]]:
    """Mean final loss; of the worst seed where only the table is known."""
    return [(mean_over_seeds(t, evidence, "final_loss"), int(t["trial"])) for t in trials]


def best_keys(trials: Sequence[Row], evidence: Evidence) -> list[tuple[float, ...]]:
    """Mean lowest loss; of the worst seed where only the table is known."""
    return [(mean_over_seeds(t, evidence, "best_loss"), int(t["trial"])) for t in trials]


def early_keys(trials: Sequence[Row], evidence: Evidence) -> list[tuple[float, ...]]:
    """Mean loss at an early step: `early_loss`, or the last point of the curve up to that step.

    Raises:
        SweepError: not a single trial has one.
    """

    def mean(trial: Row) -> float:
        step = evidence.early_step_of(trial)
        return mean_over_seeds(trial, evidence, "early_loss", lambda run: early_loss(run, step))

    means = [mean(trial) for trial in trials]
    if means and not np.isfinite(means).any():
        raise SweepError(
            "no trial has an early loss", cure="Rank by another policy, such as robust."
        )
    return [(one, int(trial["trial"])) for one, trial in zip(means, trials, strict=True)]


def early_loss(run: Result, step: int | None) -> float | None:
    """Loss of a run at an early step: its own word, else of the thinned curve up to there.

    Args:
        run: with `early_loss`, or with `steps` and `curve`, rows `[step, loss, ...]`.
        step: None where only its own word counts.
    """
    said: float | None = run.get("early_loss")
    if said is not None or step is None or run["steps"] <= step:
        return said
    before = [row[1] for row in run.get("curve") or () if row[0] <= step]
    return before[-1] if before else None


def mean_losses(runs: Sequence[Result], early_step: int) -> dict[str, float]:
    """The `LOSSES` of one trial, means over its seeds: a table with them ranks as the runs do.

    Args:
        runs: verdicts of its runs.
        early_step: step whose loss counts as early.

    Returns:
        By name; infinity where a run has none.
    """
    evidence, trial = Evidence(runs={0: runs}), {"trial": 0}
    readers = {"early_loss": partial(early_loss, step=early_step)}
    return {name: mean_over_seeds(trial, evidence, name, readers.get(name)) for name in LOSSES}


KEYS: Mapping[str, Keys] = {
    "robust": robust_keys,
    "final": final_keys,
    "best": best_keys,
    "early": early_keys,
    "lr_sensitivity": lr_sensitivity_keys,
}
