"""The question's perceptron under many optimizers: who climbs back, when, and was it forecast?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reproductions.divisor import Prober
from reproductions.progress import Progress
from reproductions.runs import UNIT, Order, Outcome, rise, train
from reproductions.scale import Scale
from reproductions.stability import problem
from sweeper.stability.forecast import Forecast, forecast
from sweeper.stability.threshold import threshold

TITLE = "Which optimizers climb back, and was it to be foreseen?"
DATA_SETS, HORIZON = 5, 20_000
_ADAM = problem.ADAM
_LONG = 2  # horizons, for the answer's advice of a lower learning rate


@dataclass(frozen=True, slots=True)
class Case:
    """A line of the table."""

    name: str
    config: Mapping[str, Any]
    horizons: int = 1


CASES = (
    Case("Adam, its defaults", _ADAM),
    Case("AdamW", {"optimizer": "adamw", "lr": 1e-3}),
    Case("AMSGrad", {**_ADAM, "amsgrad": True}),
    Case("StableAdamW", {"optimizer": "stable_adamw", "lr": 1e-3}),
    Case("RMSProp", {"optimizer": "rmsprop", "lr": 1e-3}),
    Case("Adagrad, lr 0.1", {"optimizer": "adagrad", "lr": 0.1}),
    Case("SGD, momentum 0.9, lr 1e-4", {"optimizer": "sgd", "lr": 1e-4, "momentum": 0.9}),
    Case("Adai", {"optimizer": "adai", "lr": 1e-3}),
    Case("Adam, eps 1e-4", {**_ADAM, "eps": 1e-4}),
    Case("Adam, eps 1e-2", {**_ADAM, "eps": 1e-2}),
    Case("Adam, eps 0.1", {**_ADAM, "eps": 0.1}),
    Case("Adam, eps 1", {**_ADAM, "eps": 1.0}),
    Case("Adam, lr 1e-4", {**_ADAM, "lr": 1e-4}, _LONG),
    Case("Adam, lr 1e-5", {**_ADAM, "lr": 1e-5}, _LONG),
    Case("Adam, cosine to 0", {**_ADAM, "schedule": "cosine"}),
    Case(
        "Adam, step: 0.1 each 1,500",
        {**_ADAM, "schedule": {"kind": "step", "step_size": {"steps": 1500}, "gamma": 0.1}},
    ),
    Case(
        "Adam, exponential: 0.9995",
        {**_ADAM, "schedule": {"kind": "exponential", "gamma": 0.9995}},
    ),
    Case("Adam, gradient clipped to norm 1", {**_ADAM, "clip_norm": 1.0}),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one run did, and what was known of it early.

    Args:
        rise: first step above 1e-8 after a hundred below it.
        probed: step of the last probe that the forecast knew; None where all came too late.
    """

    case: Case
    data: int
    outcome: Outcome
    rise: int | None
    probed: int | None
    forecast: Forecast | None

    @property
    def seen(self) -> int | None:
        """The step of the failure, for runs that fail."""
        if not self.outcome.failed:
            return None
        return self.rise if self.rise is not None else self.outcome.verdict["onset_step"]

    @property
    def error(self) -> float | None:
        """Of the forecast step, relative."""
        if self.seen is None or self.forecast is None or self.forecast.step is None:
            return None
        if self.forecast.confidence == "measured":  # it is there: nothing was foreseen
            return None
        return self.forecast.step / self.seen - 1


def measure(
    scale: Scale, progress: Progress, cases: Sequence[Case] = CASES
) -> list[list[Finding]]:
    """Findings by data set and case."""
    found = []
    count = scale.count(DATA_SETS)
    for data in range(count):
        progress.say(f"optimizers: data set {data + 1} of {count}")
        orders = []
        for case in cases:
            horizon = case.horizons * scale.steps(HORIZON)
            orders.append(Order(case.config, horizon, looks=scale.looks(horizon)))
        outcomes = train(problem.task(data), orders, compiled=scale.compiled)
        prober = problem.prober(data)
        found.append([_finding(*pair, data, prober) for pair in zip(cases, outcomes)])
    return found


def _finding(case: Case, outcome: Outcome, data: int, prober: Prober) -> Finding:
    risen = rise(outcome.loss)
    known = [step for step in (risen, outcome.verdict["onset_step"]) if step is not None]
    latest = min(known) / 2 if outcome.failed else np.inf
    probed, found = early_forecast(outcome, prober, latest)
    return Finding(case, data, outcome, risen, probed, found)


def early_forecast(
    outcome: Outcome, prober: Prober, latest: float, until: int | None = None
) -> tuple[int | None, Forecast | None]:
    """The forecast from the last kept state up to `latest`, checked by the one before it."""
    steps = [step for step in sorted(outcome.rows) if step <= latest]
    if not steps:
        return None, None
    horizon = outcome.order.horizon
    probes = [prober(outcome.configuration, horizon, outcome.rows[s]) for s in steps[-2:]]
    earlier = probes[0] if len(probes) > 1 else None
    found = forecast(
        outcome.configuration, horizon, probes[-1], full_batch=True, earlier=earlier, until=until
    )
    return steps[-1], found


def worst(found: list[list[Finding]]) -> Finding | None:
    """The run whose forecast erred most."""
    known = [one for row in found for one in row if one.error is not None]
    return max(known, key=lambda one: abs(one.error or 0), default=None)


def near_threshold(one: Finding, scale: Scale, progress: Progress) -> int | None:
    """When S of a run comes within 5 % of its threshold: the run again, looked at more often."""
    progress.say(f"optimizers: {one.case.name} again, looked at more often")
    order, prober = one.outcome.order, problem.prober(one.data)
    again = replace(order, looks=tuple(range(10 * UNIT, one.seen or order.horizon, 10 * UNIT)))
    outcome = train(problem.task(one.data), [again], compiled=scale.compiled)[0]
    for step, row in sorted(outcome.rows.items()):
        edge = threshold(outcome.configuration, order.horizon, np.array([float(step)]))
        if prober(outcome.configuration, order.horizon, row).sharpness >= 0.95 * edge[0]:
            return step
    return None
