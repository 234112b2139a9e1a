"""What must hold of the database when a sweep is over."""

from __future__ import annotations

from collections.abc import Callable

from lease_model import promise
from simulated_storage import Fate, SimulatedStorage
from witness import Witness

from sweeper.lane.run import Run
from sweeper.lane.trajectories import Span
from sweeper.spec import SweepSpec
from sweeper.study.database import COMPLETE, FAIL, STRESS, Database, RunRow, Trial
from sweeper.study.search import Search
from sweeper.study.stress import missing


def audit(
    database: Database,
    witness: Witness,
    storage: SimulatedStorage,
    fate: Callable[[Run], Fate],
) -> None:
    """Raise Violation where the database is not what a finished sweep must leave."""
    trials, rows = database.trials(), database.runs()
    by_number = {trial.number: trial for trial in trials}
    spans: dict[int, list[tuple[str, Span]]] = {}
    for part in database.parts():
        for span in part.spans:
            spans.setdefault(span.run, []).append((part.path, span))
    for row in rows:
        trial = by_number[row.run.trial]
        _check_run(row, trial, witness)
        _check_spans(row, spans.get(row.run.id, []), storage)
        _check_fate(row, trial, fate(row.run))
    _check_trials(trials, rows, witness, fate)


def _check_run(row: RunRow, trial: Trial, witness: Witness) -> None:
    """The database says what was committed, and a run that ended is not suspected."""
    known = witness.runs[row.run.id]
    promise(row.run == known.run, f"run {row.run.id} has changed")
    promise(row.step == known.step, f"run {row.run.id} is at {row.step}, not at {known.step}")
    promise(row.result == known.result, f"run {row.run.id}: another result")
    promise(row.deaths == known.deaths, f"run {row.run.id}: {row.deaths} deaths")
    if trial.state == COMPLETE:
        promise(row.deaths == 0, f"run {row.run.id} has ended and is suspected still")


def _check_spans(row: RunRow, spans: list[tuple[str, Span]], storage: SimulatedStorage) -> None:
    """They cover the run without gap or overlap, and are of its own trajectory."""
    at = 0
    for path, span in sorted(spans, key=lambda one: one[1].first):
        piece = storage.parts[path][row.run.id]
        promise(span.first == at, f"run {row.run.id}: a span from {span.first} after {at}")
        promise((piece.first, piece.stop) == (span.first, span.stop), "a span that isn't there")
        promise(piece.is_true, f"run {row.run.id}: {span} is of another trajectory")
        at = span.stop
    is_finite = row.result is None or row.result["finite"]
    promise(at == row.step + (not is_finite), f"run {row.run.id}: spans end at {at}")


def _check_fate(row: RunRow, trial: Trial, fate: Fate) -> None:
    if trial.state == COMPLETE:
        promise(row.result is not None, f"run {row.run.id} has no result")
        promise(not fate.is_deadly, f"run {row.run.id} can't have ended")


def _check_trials(
    trials: list[Trial], rows: list[RunRow], witness: Witness, fate: Callable[[Run], Fate]
) -> None:
    searched = [trial for trial in trials if trial.origin != STRESS]
    numbers = [trial.number for trial in searched]
    promise(numbers == list(range(len(searched))), "trials are missing")
    told = sorted(trial.told or 0 for trial in trials)
    promise(told == list(range(1, len(trials) + 1)), "told:", told)
    deadly = {row.run.trial for row in rows if fate(row.run).is_deadly}
    for trial in trials:
        promise(trial.state in (COMPLETE, FAIL), f"trial {trial.number} is {trial.state}")
        promise(
            trial.state == FAIL or trial.number not in deadly,
            f"trial {trial.number} can't be complete",
        )
        promise((trial.state == FAIL) == (trial.error is not None), trial.error)
    _check_configs(searched, witness.spec)
    _check_budget(searched, witness)
    results: dict[int, list[dict[str, object]]] = {}
    for row in rows:
        if row.result is not None:
            results.setdefault(row.run.trial, []).append(row.result)
    promise(not missing(witness.spec, trials, results), "the stress test is not over")


def _check_configs(trials: list[Trial], spec: SweepSpec) -> None:
    """A search that doesn't learn proposes what an undisturbed one would."""
    if spec.search.sampler == "tpe":
        return
    expected = undisturbed(spec.search.sampler, spec.search.seed, max(0, len(trials) - 1), spec)
    found = [trial.config for trial in trials]
    promise(found[:1] == spec.baselines[: len(found)], "the baseline is not the first trial")
    promise(found[1:] == expected, "not the configurations of an undisturbed search")


_PROPOSED: dict[tuple[str, int], list[dict[str, object]]] = {}


def undisturbed(sampler: str, seed: int, count: int, spec: SweepSpec) -> list[dict[str, object]]:
    """The first configurations that a search proposes."""
    known = _PROPOSED.setdefault((sampler, seed), [])
    if len(known) < count:
        search = Search(spec.parsed_space, sampler, seed)
        known[:] = [search.ask()[1] for _ in range(max(count, 16))]
    return known[:count]


def _check_budget(trials: list[Trial], witness: Witness) -> None:
    budget = witness.spec.budget
    promise(len(trials) <= budget.trials, "too many trials")
    if budget.time is None and budget.run_steps is None:
        promise(len(trials) == budget.trials, "too few trials:", len(trials))
