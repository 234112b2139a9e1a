"""The question's perceptron under many optimizers: who climbs back, when, and was it forecast?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reproductions import page
from reproductions.divisor import Prober
from reproductions.progress import Progress
from reproductions.runs import Order, Outcome, rise, train
from reproductions.scale import Scale
from reproductions.stability import problem, wording
from sweeper.stability.forecast import Forecast, forecast

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


def section(found: list[list[Finding]]) -> str:
    """The section of the page."""
    head = ["", "onset", "first > 1e-8", "minimum", "maximum after", "tail", "verdict", "forecast",
            "made at", "error"]  # fmt: skip
    first = page.table(head, [_line(one) for one in found[0]])
    several = page.table(
        ["", "failed", "first > 1e-8", "forecast", "error"],
        [_summary(list(column)) for column in zip(*found)],
    )
    horizon = found[0][0].outcome.order.horizon
    return f"""### {TITLE}

1000 inputs, 64 random points, sum of squared errors, full batch: data and initial weights are
those of the question, to the bit. {horizon:,} steps; lr 1e-4 and 1e-5 (the advice of the accepted
answer) twice that. lr is 1e-3 where nothing is said, everything else torch's default.

`onset` is where sweeper's verdict says that the run fails; `first > 1e-8` the first loss above
that after a hundred steps below it; `tail` the mean of the worst tenth of the last 20 %. A
forecast knows probes of the sharpness no later than half of the onset and a tenth of the horizon
(`made at`), and nothing of what came after; its error is against `first > 1e-8`.

{first}

The same on {wording.plural(len(found), "data set")} (the question's and fresh ones):

{several}

{_verdict_on_forecasts([one for row in found for one in row])}"""


def _line(one: Finding) -> list[str]:
    verdict, loss = one.outcome.verdict, one.outcome.loss
    lowest = int(np.nanargmin(loss))
    return [
        one.case.name,
        wording.step(verdict["onset_step"]),
        wording.step(one.rise),
        wording.loss(float(loss[lowest])),
        wording.loss(float(np.nanmax(loss[lowest:]))),
        wording.loss(verdict["tail_loss"]),
        "**fails**" if one.outcome.failed else "holds",
        _said(one.forecast),
        wording.step(one.probed),
        wording.percent(one.error),
    ]


def _said(found: Forecast | None) -> str:
    if found is None:
        return "no probe early enough"
    if not found.applies:
        return "doesn't apply"
    if found.confidence == "measured":
        return "there already"
    return "none" if found.step is None else wording.step(found.step)


def _summary(column: list[Finding]) -> list[str]:
    failed = [one for one in column if one.outcome.failed]
    errors = [one.error for one in failed if one.error is not None]
    steps = [
        one.forecast.step
        for one in column
        if one.forecast is not None and one.forecast.step is not None
        if one.forecast.confidence != "measured"
    ]
    there = [o for o in column if o.forecast is not None and o.forecast.confidence == "measured"]
    worst = f"{wording.percent(min(errors))} to {wording.percent(max(errors))}" if errors else "-"
    return [
        column[0].case.name,
        f"**{len(failed)} of {len(column)}**" if failed else f"0 of {len(column)}",
        wording.span([one.rise for one in column if one.rise is not None]),
        wording.span(steps) if steps else "there already" if there else "none",
        worst,
    ]


def _verdict_on_forecasts(every: list[Finding]) -> str:
    failed = [one for one in every if one.outcome.failed]
    errors = [abs(one.error) for one in failed if one.error is not None]
    missed = [one for one in failed if one.error is None]
    false = [
        one
        for one in every
        if not one.outcome.failed and one.forecast is not None and one.forecast.step is not None
    ]
    median = f"{100 * np.median(errors):.1f} %" if errors else "-"
    return f"""**Forecasts.** {len(failed)} of {len(every)} runs fail; {len(errors)} of them were
forecast, with a median error of **{median}** (the forecast is of the crossing of the threshold,
and the loss needs some steps to grow from its floor). {_largest(failed)} {_missed(missed)}
{_false(false, len(every) - len(failed))}"""


def _largest(failed: list[Finding]) -> str:
    """The worst forecast, and where the loss was when it was made."""
    known = [one for one in failed if one.error is not None]
    if not known:
        return ""
    worst = max(known, key=lambda one: abs(one.error or 0))
    assert worst.probed is not None and worst.forecast is not None
    return (
        f"The largest error, {wording.percent(worst.error)}, is that of {worst.case.name}: when "
        f"probed, at step {worst.probed:,}, its loss was still "
        f"{wording.loss(float(worst.outcome.loss[worst.probed]))}, and gradients went on to "
        f"refresh the second moment; the forecast called itself {worst.forecast.confidence} all "
        "the same."
    )


def _missed(missed: list[Finding]) -> str:
    if not missed:
        return "None was missed."
    reasons = Counter((one.case.name, _why(one)) for one in missed)
    return (
        "Not forecast: "
        + "; ".join(
            f"{name} ({count} of its runs: {why})" for (name, why), count in reasons.items()
        )
        + "."
    )


def _why(one: Finding) -> str:
    if one.forecast is None:
        return "it fails before the first probe that would count"
    # Numbers differ by data set; the reason is what comes before them.
    if one.forecast.confidence == "measured":
        return "at its threshold already when probed; it never settles"
    if one.forecast.applies:
        return "it was said to stay below its threshold"
    return one.forecast.reason.split(": ")[0].split(" since step")[0]


def _false(false: list[Finding], stable: int) -> str:
    if not false:
        return f"None of the {stable} runs that hold was forecast to fail."
    names = Counter(one.case.name for one in false)
    listed = wording.listing([f"{name} ({count})" for name, count in names.items()])
    return (
        f"Of the {stable} runs that hold, {len(false)} were said to reach their threshold: "
        f"{listed}. At the edge of stability a loss hovers, and need not climb three decades "
        "above the best that it reached."
    )
