"""The order of the told trials of a sweep: of the search, with what the stress test found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sweeper.errors import SweepError
from sweeper.ranking.evidence import Evidence
from sweeper.ranking.objective import Result
from sweeper.ranking.ranking import rank
from sweeper.ranking.recommendation import recommended, tempting
from sweeper.ranking.robust import on_front
from sweeper.ranking.target import choose_target, steps_to_target
from sweeper.spec import SweepSpec
from sweeper.study.database import COMPLETE, STRESS, Database, Trial

# `early` ranks by the loss at this share of the horizon: the first rung of a usual pruner.
_EARLY_SHARE = 0.1
_OTHERS = ("best", "final", "early")
# What of a stress test stands in the table, by its own name with `stress_` before it.
_OF_STRESS = ("runs", "failure_fraction", "robust_loss", "tail_loss", "draw_up", "onset_step")


def standing(database: Database, spec: SweepSpec, policy: str = "robust") -> list[dict[str, Any]]:
    """The ranking of a sweep from its database; see `order`."""
    return order(spec, database.trials(), results_of(database), policy)


def results_of(database: Database) -> dict[int, list[Result]]:
    """What trials are ranked by: the verdicts of the runs that have ended, by number of the trial.

    Without the probes, and of the curve step and loss: the rest is most of a long sweep.
    """
    results: dict[int, list[Result]] = {}
    for number, result in database.results():
        curve = [(row[0], row[1]) for row in result["curve"]]
        kept = {k: v for k, v in result.items() if k != "probes"} | {"curve": curve}
        results.setdefault(number, []).append(kept)
    return results


def order(
    spec: SweepSpec,
    trials: Iterable[Trial],
    results: Mapping[int, Sequence[Result]],
    policy: str = "robust",
) -> list[dict[str, Any]]:
    """Every told trial of the search in order: `rank`, `trial`, `origin`, its results, `config`.

    Trials that were stress-tested have `stress_runs`, `stress_failure_fraction`,
    `stress_robust_loss`, `stress_tail_loss`, `stress_draw_up` and `stress_onset_step`; those
    whose neighbours were tested `neighbourhood_width`, the share of them that held.
    `steps_to_target` is there for those that reached the target (see sweeper.ranking.target).

    Args:
        trials: of the search and of the stress test.
        results: verdicts of the runs of every trial, by its number.

    Where the search has several objectives, `pareto` says whether a trial is on their front.

    Raises:
        SweepError: unknown policy, or no trial has what it ranks by.
    """
    told = [trial for trial in trials if trial.result is not None]
    searched = [trial for trial in told if trial.origin != STRESS]
    tests = [trial for trial in told if trial.origin == STRESS]
    evidence = Evidence(
        runs={trial.number: results.get(trial.number, ()) for trial in searched},
        stress={t.stress["of"]: results[t.number] for t in tests if _is_itself(t) and t.stress},
        cvar=spec.stability.limits().cvar,
        early_step={t.number: early_step(spec, t.config) for t in searched},
        objectives=spec.objectives,
    )
    said = _said(tests)
    table = [
        {
            "trial": trial.number,
            "origin": trial.origin,
            **(trial.result or {}),
            **said.get(trial.number, {}),
            "config": trial.config,
        }
        for trial in searched
    ]
    target = choose_target(table)
    if target is not None:
        for row in table:
            row["steps_to_target"] = steps_to_target(evidence.runs[row["trial"]], target)
    if len(spec.objectives) > 1:
        front = on_front(table, evidence)
        table = [{**row, "pareto": bool(is_on)} for row, is_on in zip(table, front, strict=True)]
    return rank(table, policy, evidence)


def early_step(spec: SweepSpec, config: Mapping[str, Any]) -> int:
    """The step whose loss counts as early, of a run with that configuration."""
    return round(_EARLY_SHARE * spec.steps(config))


def refused(database: Database, spec: SweepSpec) -> list[dict[str, Any]]:
    """Trials that the policies of other tools put first and that broke: with `reason` and `by`."""
    trials, results = database.trials(), results_of(database)
    rankings = {}
    for policy in _OTHERS:
        with suppress(SweepError):  # nothing to rank by, where all diverged at once
            rankings[policy] = order(spec, trials, results, policy)
    return tempting(rankings, stress_horizon=lambda row: spec.stress_steps(row["config"]))


def chosen(ranking: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The recommended trial of a ranking by `robust`; None where nothing held."""
    stressed = any("stress_runs" in row for row in ranking)
    return recommended(ranking, stressed=stressed)


def _said(tests: Sequence[Trial]) -> dict[int, dict[str, Any]]:
    """What the stress test says of a trial, by its number."""
    said: dict[int, dict[str, Any]] = {}
    around: dict[int, list[bool]] = {}
    for test in tests:
        result, of = test.result or {}, (test.stress or {})["of"]
        if _is_itself(test):
            said[of] = {f"stress_{name}": result.get(name) for name in _OF_STRESS}
        else:
            around.setdefault(of, []).append(result["failure_fraction"] == 0)
    for of, held in around.items():
        said.setdefault(of, {})["neighbourhood_width"] = sum(held) / len(held)
    return said


def _is_itself(test: Trial) -> bool:
    """Whether a trial itself was tested, and not one of its neighbours."""
    return test.state == COMPLETE and (test.stress or {})["change"] is None
