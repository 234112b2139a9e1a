"""A sweep as MLflow alone has it: the same rows as its folder gives, as far as they are there."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from sweeper.errors import SweepError
from sweeper.optim.configuration import parse
from sweeper.ranking.evidence import Evidence
from sweeper.ranking.objectives import DEFAULT, Objective, parse_objectives
from sweeper.ranking.policies import LOSSES
from sweeper.ranking.ranking import rank
from sweeper.tracking import content
from sweeper.tracking.reading import Recorded
from sweeper.tracking.store import Found

# What every trial has, None where MLflow has no number: it keeps finite ones only.
_RESULTS = (
    "robust_loss", "failure_fraction", "failure_low", "failure_high", "violation", "runs",
    "tail_loss", "best_loss", "final_loss", "draw_up", "give_back", "spike_score", "onset_step",
    "forecast_step", "sharpness", "safe_eps", "stable_steps",
)  # fmt: skip
_STRESS = (
    "stress_runs", "stress_failure_fraction", "stress_robust_loss", "stress_tail_loss",
    "stress_draw_up", "stress_onset_step",
)  # fmt: skip
_AFTER = ("steps_to_target", "neighbourhood_width")
_WHOLE = {"runs", "onset_step", "forecast_step", "stable_steps", "steps_to_target"}
_WHOLE |= {"stress_runs", "stress_onset_step"}
# Curves and places, which are no results of a trial.
_OTHERS = {"rank", "run_steps", "loss", "grad_norm", "update_rms", "lr"}
_OTHERS |= {f"{name}{content.MEAN}" for name in LOSSES}
_SETTING, _OBJECTIVE, _RENAMED = "hp.", "objective.", "task."


class TrackedSweep:
    """A sweep read from MLflow.

    Args:
        recorded: its runs.
    """

    def __init__(self, recorded: Recorded) -> None:
        self._parent = recorded.parent
        self._runs = [run for run in recorded.children if run.status == "FINISHED"]
        self.name = recorded.name

    @property
    def finished(self) -> bool:
        """Whether the sweep came to its end."""
        return self._parent.status == "FINISHED"

    @property
    def horizon_text(self) -> str:
        """The horizon in words."""
        text = self._parent.params.get("horizon", "unknown")
        return f"{int(text):,}" if text.isdigit() else text

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the search optimised, the first one first."""
        text = self._parent.params.get("objective", "")
        with suppress(ValueError, SweepError):  # cut off, where there are very many
            return parse_objectives(json.loads(text) if text.startswith(("[", "{")) else text)
        return DEFAULT

    @property
    def recommended_trial(self) -> int | None:
        """Number of the recommended trial; None where there is none, or not yet."""
        for run in self._runs:
            if run.tags.get(content.RECOMMENDED) == "true":
                return int(run.tags[content.TRIAL])
        return None

    def ranking(self, by: str = "robust") -> list[dict[str, Any]]:
        """Every trial with results in order, as `SweepHandle.ranking` gives it.

        `robust` takes the ranks that a finished sweep has recorded, of its first 100 trials and
        the baselines; further ones, and all of an unfinished sweep, are ranked by what MLflow has,
        which lacks what the seeds say one by one.

        Raises:
            SweepError: unknown policy, or no trial has what it ranks by.
        """
        several = len(self.objectives) > 1
        rows = {int(run.tags[content.TRIAL]): _row(run, several=several) for run in self._runs}
        table = [{**row, **_means(run)} for row, run in zip(rows.values(), self._runs)]
        order = [row["trial"] for row in rank(table, by, Evidence(objectives=self.objectives))]
        ranks: dict[int, int] = {}
        if by == "robust" and self.finished:
            found = {int(run.tags[content.TRIAL]): run.metrics.get("rank") for run in self._runs}
            ranks = {trial: int(place) for trial, place in found.items() if place is not None}
            order = _with_places(order, ranks)
        # Of a long sweep only some trials have a run: their places are those among all.
        places = enumerate(order, start=1)
        return [{"rank": ranks.get(trial, place), **rows[trial]} for place, trial in places]


def _with_places(order: Sequence[int], ranks: Mapping[int, int]) -> list[int]:
    """Trials with those that have a rank at their places, the others in between."""
    merged = [trial for trial in order if trial not in ranks]
    for trial in sorted(ranks, key=lambda trial: ranks[trial]):
        merged.insert(ranks[trial] - 1, trial)
    return merged


def _row(run: Found, *, several: bool) -> dict[str, Any]:
    metrics = run.metrics
    names = [*_RESULTS, *(_STRESS if "stress_runs" in metrics else ())]
    after = [name for name in _AFTER if name in metrics]
    listed = {*_RESULTS, *_STRESS, *_AFTER, *_OTHERS}
    own = [
        name
        for name in metrics
        if name not in listed and not name.startswith((_SETTING, _OBJECTIVE))
    ]
    row: dict[str, Any] = {
        "trial": int(run.tags[content.TRIAL]),
        "origin": "baseline" if run.tags.get(content.BASELINE) == "true" else "search",
        **{name: _number(name, metrics.get(name)) for name in names},
        **{name.removeprefix(_RENAMED): metrics[name] for name in own},
    }
    objectives = {
        name.removeprefix(_OBJECTIVE): value
        for name, value in metrics.items()
        if name.startswith(_OBJECTIVE)
    }
    if objectives:
        row["objectives"] = objectives
    row["config"] = read_config(run.params, metrics)
    row |= {name: _number(name, metrics[name]) for name in after}
    if several:
        row["pareto"] = run.tags.get(content.PARETO) == "true"
    return row


def read_config(params: Mapping[str, str], metrics: Mapping[str, float]) -> dict[str, Any]:
    """The configuration of a trial from its parameters, which are text in MLflow.

    Args:
        params: dotted settings.
        metrics: with `hp.` and its name for every setting that is a number.
    """
    config: dict[str, Any] = {}
    for key, text in params.items():
        *path, last = key.split(".")
        inner = config
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = _setting(text, is_number=f"{_SETTING}{key}" in metrics)
    with suppress(SweepError):  # of another version of sweeper: as it stands there
        return parse(config).to_dict()
    return config


def _setting(text: str, *, is_number: bool) -> Any:
    words = {"true": True, "false": False, "None": None}
    if text in words:
        return words[text]
    if is_number or text.startswith(("[", "{")):
        with suppress(ValueError, SyntaxError):
            return ast.literal_eval(text)
    return text


def _means(run: Found) -> dict[str, float | None]:
    """What policies rank by, in place of the worst seed's; nothing in an older record."""
    known = {name: run.metrics.get(f"{name}{content.MEAN}") for name in LOSSES}
    return known if any(value is not None for value in known.values()) else {}


def _number(name: str, value: float | None) -> float | int | None:
    return int(value) if value is not None and name in _WHOLE else value
