"""What a policy may know of the trials beside the table of their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sweeper.ranking.objective import Result
from sweeper.ranking.objectives import DEFAULT, Objective

Row = Mapping[str, Any]
"""What is said of a trial (sweeper.ranking.objective.trial_result), and its number, `trial`."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The runs behind a table of trials; without them the table alone is ranked.

    Args:
        runs: verdicts of the runs of the search, by number of the trial.
        stress: verdicts of the runs of a stress test, by number of the trial.
        cvar: share of the runs that makes robust_loss, in (0, 1].
        early_step: step whose loss counts as early where a run names none as `early_loss`; by
            number of the trial where they differ in length.
        seed: of the bootstrap.
        objectives: of the search, the first one first.
    """

    runs: Mapping[int, Sequence[Result]] = field(default_factory=dict)
    stress: Mapping[int, Sequence[Result]] = field(default_factory=dict)
    cvar: float = 0.4
    early_step: int | Mapping[int, int] | None = None
    seed: int = 0
    objectives: tuple[Objective, ...] = DEFAULT

    def of(self, trial: Row) -> Sequence[Result]:
        """The runs that count for a trial: of the stress test where it had one."""
        number = trial["trial"]
        return self.stress.get(number) or self.runs.get(number) or ()

    def early_step_of(self, trial: Row) -> int | None:
        """The step whose loss counts as early for a trial."""
        step = self.early_step
        return step.get(trial["trial"]) if isinstance(step, Mapping) else step

    @property
    def has_negative(self) -> bool:
        """Whether a loss was negative anywhere: then no loss has decades."""
        every = (*self.runs.values(), *self.stress.values())
        return any(result.get("negative") for results in every for result in results)


def finite(value: Any) -> float:
    """A number to sort by: infinity where there is none."""
    return float(value) if value is not None and np.isfinite(value) else np.inf


def failure_fraction(trial: Row) -> float:
    """Share of the seeds of the search that failed; where it isn't known, all of them."""
    return min(1.0, finite(trial.get("failure_fraction")))


def is_feasible(trial: Row) -> bool:
    """Whether a trial held in the search, and is not forecast to break."""
    violation = trial.get("violation")
    return failure_fraction(trial) == 0 and (violation is None or violation <= 0)


def mean_over_seeds(
    trial: Row, evidence: Evidence, name: str, read: Callable[[Result], Any] | None = None
) -> float:
    """Mean over the runs of the search; infinity where one of them has no finite value.

    Args:
        name: key of the table, which says it where the runs are not known.
        read: from the verdict of a run; its key of that name where not given.
    """
    runs = evidence.runs.get(trial["trial"])
    if not runs:
        return finite(trial.get(name))
    values = [finite(read(run) if read else run.get(name)) for run in runs]
    with np.errstate(over="ignore"):
        return finite(np.mean(values))
