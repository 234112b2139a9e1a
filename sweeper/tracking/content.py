"""What MLflow is told of a sweep and of its trials, as plain values."""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from sweeper.optim.configuration import flatten
from sweeper.ranking.objective import worst_run
from sweeper.ranking.policies import mean_losses
from sweeper.spec import SweepSpec
from sweeper.study.database import PRUNED, RunRow, Trial
from sweeper.study.identity import short_error
from sweeper.tracking.store import Point

SWEEP, SWEEP_ID, TRIAL, BEST = (
    "sweeper.sweep",
    "sweeper.sweep_id",
    "sweeper.trial",
    "sweeper.best",
)
BASELINE = "sweeper.baseline"
ERROR, PRUNED_BY = "sweeper.error", "sweeper.pruned"
RECOMMENDED, REFUSED, PARETO = "sweeper.recommended", "sweeper.refused", "sweeper.pareto"
MARKS = (RECOMMENDED, REFUSED, PARETO)
ARTIFACTS = "sweeper.artifacts"
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"
MEAN = "_mean"  # ends the name of a mean over the seeds
# Points of each curve at most; every one costs the tracker 0.07 ms.
_SERIES = {"loss": 25, "grad_norm": 8, "update_rms": 8, "lr": 8}
_OWN = {*_SERIES, "rank", "run_steps"}
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Child:
    """What the run of a trial says."""

    name: str
    tags: dict[str, str]
    params: dict[str, str]
    points: list[Point]


def child(
    trial: Trial,
    runs: Sequence[RunRow],
    sweep_id: str,
    parent: str,
    early_step: int,
    log_settings: Collection[str] = (),
) -> Child:
    """The run of a told trial.

    Args:
        runs: of the trial, all ended unless it was given up.
        parent: id of the run of the sweep.
        early_step: step whose loss counts as early.
        log_settings: settings whose log10 is drawn, too.
    """
    settings = flatten(trial.config)
    result = trial.result or {}
    tags = {
        PARENT: parent,
        SWEEP_ID: sweep_id,
        TRIAL: str(trial.number),
    }
    if trial.state != PRUNED:  # nobody knows
        tags["sweeper.stable"] = _text(result.get("failure_fraction") == 0)
    objectives = (result.get("objectives") or {}).items()
    points = [
        *numbers(result),
        *numbers({f"objective.{name}": value for name, value in objectives}),
        *numbers({f"hp.{key}": value for key, value in settings.items()}),
        *numbers({f"hp.log10_{key}": _log10(settings.get(key)) for key in log_settings}),
        *numbers({"run_steps": run_steps(runs)}, own=True),
    ]
    if trial.origin == "baseline":
        tags[BASELINE] = "true"
    if trial.state == PRUNED:
        tags[PRUNED_BY] = _text(trial.error)
    elif trial.result is None:
        tags[ERROR] = short_error(trial.error or "unknown")
    else:
        results = [row.result or {} for row in runs]
        worst = worst_run(results)
        tags["sweeper.loss_seed"] = str(runs[worst].run.seed)
        points += curves(results[worst]["curve"])
        means = mean_losses(results, early_step)
        points += numbers({f"{name}{MEAN}": value for name, value in means.items()})
    params = {key: _text(value) for key, value in settings.items()}
    return Child(run_name(trial.number, settings), tags, params, points)


def run_steps(runs: Iterable[RunRow]) -> int:
    """Optimizer steps of some runs; of one that has not ended those that were saved."""
    return sum(row.step if row.result is None else row.result["steps"] for row in runs)


def sweep_params(spec: SweepSpec) -> dict[str, str]:
    """What of the sweep can't change: MLflow takes a parameter once."""
    values = {
        "task": spec.task,
        "task_args": json.dumps(spec.task_args, sort_keys=True),
        "horizon": spec.horizon if isinstance(spec.horizon, int) else str(spec.horizon),
        "seeds": json.dumps(spec.seed_list),
        "dtype": spec.dtype,
        "sampler": spec.search.sampler,
        "sampler_seed": spec.search.seed,
        "objective": spec.objective
        if isinstance(spec.objective, str)
        else json.dumps(spec.objective),
    }
    return {key: _text(value) for key, value in values.items()}


def sweep_tags(spec: SweepSpec, sweep_id: str) -> dict[str, str]:
    """Identity and budget: a resumed sweep may have another budget."""
    budget = spec.budget.model_dump(mode="json", exclude_none=True)
    tags = {f"sweeper.budget.{key}": _text(value) for key, value in budget.items()}
    return {SWEEP: spec.name, SWEEP_ID: sweep_id, **tags}


def numbers(values: Mapping[str, Any], *, own: bool = False) -> Iterator[Point]:
    """The finite numbers among values.

    Args:
        own: whether names that mean something else here are meant.
    """
    for key, value in values.items():
        if is_finite(value):
            yield Point(metric_name(key if own or key not in _OWN else f"task.{key}"), value)


def stress_points(row: Mapping[str, Any]) -> Iterator[Point]:
    """What the stress test says of a ranked trial that it tested; nothing of the others."""
    if "stress_runs" in row:
        names = ("steps_to_target", "neighbourhood_width")
        found = {k: v for k, v in row.items() if k.startswith("stress_") or k in names}
        yield from numbers(found)


def marks(
    row: Mapping[str, Any], best: Mapping[str, Any] | None, reason: str | None
) -> dict[str, str]:
    """Tags of a ranked trial.

    Args:
        best: the recommended one.
        reason: why it is refused, where others would take it.
    """
    is_best = best is not None and row["trial"] == best["trial"]
    found = {RECOMMENDED: "true"} if is_best else {}
    found |= {PARETO: "true"} if row.get("pareto") else {}
    return found | ({REFUSED: _text(reason)} if reason else {})


def curves(rows: Sequence[Sequence[float]]) -> Iterator[Point]:
    """The series of a thinned curve of rows `[step, loss, grad_norm, update_rms, lr]`."""
    for column, (name, most) in enumerate(_SERIES.items(), start=1):
        known = [row for row in rows if is_finite(row[column])]
        for row in _thinned(known, most):
            yield Point(name, row[column], int(row[0]))


def metric_name(name: str) -> str:
    """The nearest name that MLflow takes: a task may name its metrics as it likes."""
    plain = posixpath.normpath(re.sub(r"[^A-Za-z0-9_./: -]", "_", name)).lstrip("./")
    return plain[:250] or "_"


def run_name(number: int, settings: Mapping[str, Any]) -> str:
    """Such as `#12 adam lr=3.1e-4 eps=1e-6 cosine`."""
    words = [f"#{number}", str(settings.get("optimizer", ""))]
    words += [f"{k}={_short(settings[k])}" for k in ("lr", "eps", "momentum") if k in settings]
    return " ".join([*words, str(settings.get("schedule.kind", ""))]).strip()


def health(noted: Mapping[str, Any]) -> dict[str, float]:
    """How the lanes of a running sweep fare, of what the study noted last."""
    lanes = noted.get("lanes", [])
    capacity = sum(lane["capacity"] for lane in lanes)
    held = sum(min(lane["held"], lane["capacity"]) for lane in lanes)
    return {
        "lanes": len(lanes),
        "slot_occupancy": round(held / capacity, 3) if capacity else 0.0,
        "run_steps_per_s": round(sum(lane["rate"] for lane in lanes), 1),
    }


def is_finite(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _log10(value: object) -> float | None:
    return math.log10(value) if is_finite(value) and value > 0 else None


def _thinned(rows: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the rows, evenly, the first and the last among them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(index * (len(rows) - 1) / (most - 1))] for index in range(most)]


def _short(value: float) -> str:
    if value == 0 or 1e-2 <= abs(value) < 1e4:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def _text(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text[:_LONGEST]
