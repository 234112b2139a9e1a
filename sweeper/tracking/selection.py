"""Which trials have a run of their own in MLflow: in a long sweep only those one looks at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sweeper.ranking.objectives import objective_value
from sweeper.spec import SweepSpec
from sweeper.study.database import BASELINE, Trial

# Each costs milliseconds of the tracker and of every page of the UI.
_ALL_UP_TO = 1000
_BEST = 100


class Selection:
    """The choice for one sweep; it depends on the told trials alone.

    While the sweep runs a trial gets a run when it is better than all before it; at the end the
    best ones of the ranking do, and what the report speaks of.

    Args:
        spec: of the sweep.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self._objective = spec.objectives[0]
        self._best: tuple[float, bool, float] | None = None
        children, trials = spec.tracking.children, spec.budget.trials
        if children == "auto":
            self.most = None if trials <= _ALL_UP_TO else _BEST
        else:
            self.most = None if children == "all" or children >= trials else children

    def takes(self, trial: Trial) -> bool:
        """Whether a trial that was just told gets a run at once; called in the telling's order."""
        if self.most is None or trial.origin == BASELINE:
            return True
        result = trial.result
        if result is None or not self.most:
            return False
        cost = self._objective.cost(objective_value(result, self._objective))
        place = (result["failure_fraction"], result["violation"] > 0, cost)
        is_best = self._best is None or place < self._best
        if is_best:
            self._best = place
        return is_best

    def of(self, ranking: Sequence[Mapping[str, Any]], marked: Iterable[int]) -> set[int]:
        """The trials of a finished sweep that have a run.

        Args:
            ranking: as sweeper.study.standing gives it.
            marked: recommended and refused.
        """
        rows = ranking if self.most is None else ranking[: self.most]
        always = (row for row in ranking if row["origin"] == BASELINE or "stress_runs" in row)
        return {row["trial"] for row in (*rows, *always)} | set(marked)
