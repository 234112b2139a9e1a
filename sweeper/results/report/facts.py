"""What a report knows of a sweep, read once from its database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sweeper.errors import SweepError
from sweeper.ranking.evidence import Row
from sweeper.ranking.objectives import Objective, objective_value
from sweeper.results.report.fate import broke
from sweeper.results.status import status
from sweeper.results.sweep import SweepHandle
from sweeper.spec import SweepSpec
from sweeper.study import standing
from sweeper.study.database import STRESS, RunRow, Trial
from sweeper.study.folder import Folder
from sweeper.study.importance import importance_for_cost, importance_for_failure


@dataclass(frozen=True)
class Facts:
    """A sweep as it is now.

    Args:
        status: as `sweeper status` says it.
        ranking: told trials of the search in the order of `robust`.
        chosen: the recommended one of them; None where nothing held.
        recommendation: what `sweeper export` gives, where one is recommended.
        refused: what other rankings put first and that broke, with `reason` and `by`.
        trials: of search and stress test, by number.
        runs: of every trial.
        tested: of a trial that was stress-tested the number of that test.
        provenance: versions and commit of the launch.
    """

    folder: Folder
    spec: SweepSpec
    status: Mapping[str, Any]
    ranking: Sequence[Row]
    chosen: Row | None
    recommendation: Mapping[str, Any] | None
    refused: Sequence[Row]
    trials: Mapping[int, Trial]
    runs: Mapping[int, Sequence[RunRow]]
    tested: Mapping[int, int]
    provenance: Mapping[str, Any]

    @property
    def objective(self) -> Objective:
        """The first one of the search."""
        return self.spec.objectives[0]

    @cached_property
    def importances(self) -> tuple[dict[str, float], dict[str, float]]:
        """Share of each parameter in the first objective, and in failing, see study.importance."""
        space, trials = self.spec.parsed_space, list(self.trials.values())
        costs = {row["trial"]: self.objective.cost(self.value(row)) for row in self.ranking}
        broken = {row["trial"]: broke(row) for row in self.ranking}
        return (
            importance_for_cost(space, trials, costs),
            importance_for_failure(space, trials, broken),
        )

    @property
    def baselines(self) -> list[Row]:
        return [row for row in self.ranking if row["origin"] == "baseline"]

    @property
    def has_negative(self) -> bool:
        """Whether a loss was negative anywhere: then none is drawn by its logarithm."""
        results = (row.result for rows in self.runs.values() for row in rows)
        return any(result["negative"] for result in results if result is not None)

    @property
    def loss_name(self) -> str:
        """What robust_loss is: decades, unless a loss was negative."""
        return "tail loss, worst seeds" if self.has_negative else "log10 tail loss, worst seeds"

    def value(self, row: Row) -> float | None:
        """The first objective of a ranked trial."""
        return objective_value(row, self.objective)

    def shown_runs(self, trial: int) -> Sequence[RunRow]:
        """The ended runs that say most of a trial: of its stress test, else of the search."""
        rows = self.runs.get(self.tested.get(trial, trial), ())
        return [row for row in rows if row.result is not None]


def gather(handle: SweepHandle, state: str | None = None) -> Facts:
    """Read a sweep, finished or not.

    Args:
        state: of the sweep, where its launch knows better than its database.
    """
    with closing(handle.folder.database()) as database:
        trials = {trial.number: trial for trial in database.trials()}
        runs: dict[int, list[RunRow]] = {number: [] for number in trials}
        for row in database.runs():
            runs[row.run.trial].append(row)
    ranking, said = handle.ranking(), status(handle.folder)
    chosen = standing.chosen(ranking)
    return Facts(
        folder=handle.folder,
        spec=handle.spec,
        status=said if state is None else {**said, "state": state},
        ranking=ranking,
        chosen=chosen,
        recommendation=_recommendation(handle) if chosen else None,
        refused=handle.refused(),
        trials=trials,
        runs=runs,
        tested=_tested(trials.values()),
        provenance=handle.folder.provenance(),
    )


def _recommendation(handle: SweepHandle) -> Mapping[str, Any] | None:
    try:
        return handle.recommendation()
    except SweepError:  # it runs, and its ranking has changed meanwhile
        return None


def _tested(trials: Any) -> dict[int, int]:
    found = {}
    for trial in trials:
        if trial.origin == STRESS and trial.result is not None and trial.stress["change"] is None:
            found[trial.stress["of"]] = trial.number
    return found
