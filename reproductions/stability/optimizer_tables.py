"""The page's piece on many optimizers: two tables, and what came of the forecasts."""

from __future__ import annotations

from collections import Counter

import numpy as np

from reproductions import page, wording
from reproductions.stability.optimizers import TITLE, Finding, worst
from sweeper.stability.forecast import Forecast


def section(found: list[list[Finding]], near: int | None = None) -> str:
    """The section of the page.

    Args:
        near: `near_threshold` of the run whose forecast erred most.
    """
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
answer) twice that. lr is 1e-3 where nothing is said, all else the [default](optimizers.md)
of the optimizer.

`onset` is where sweeper's verdict says that the run fails (1,000 is the end of its grace);
`minimum` the lowest loss before that, or of all; `first > 1e-8` the first loss above
that after a hundred steps below it; `tail` the mean of the worst tenth of the last 20 %. A
forecast knows probes of the sharpness no later than half of the onset and a tenth of the horizon
(`made at`), and nothing of what came after; its error is against `first > 1e-8`. `none` says that
S stays below its threshold within the run, `there already` that it was at it when probed. Where a
run fails early the probe is chosen by its onset, which a user doesn't know beforehand.

{first}

{_remarks(found[0])}

The same on {wording.plural(len(found), "data set")} (the question's and fresh ones):

{several}

{_verdict_on_forecasts(found, near)}"""


def _remarks(row: list[Finding]) -> str:
    """What the table doesn't say by itself."""
    poor = [o for o in row if not o.outcome.failed and o.outcome.verdict["best_loss"] > 1e-8]
    text = ""
    if poor:
        names = wording.listing([one.case.name for one in poor])
        text += (
            f"To hold is not to be good: {names} never settles, and has nothing to climb from. "
        )
    low = [one for one in row if one.case.config.get("lr") == 1e-5 and one.seen is not None]
    for one in low:
        most = wording.loss(float(np.nanmax(one.outcome.loss[one.seen :])))
        text += (
            "The answer says of lr 1e-5 that it is unstable after some 20,000 iterations, and "
            f"less so, about 1e-7; here it is from step {wording.step(one.seen)} on, up to {most}."
        )
    return text


def _line(one: Finding) -> list[str]:
    verdict, loss = one.outcome.verdict, one.outcome.loss
    lowest = int(np.nanargmin(loss[: one.seen]))
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


def _verdict_on_forecasts(found: list[list[Finding]], near: int | None) -> str:
    every, erring = [one for row in found for one in row], worst(found)
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
forecast, with a median error of **{median}**. {_largest(erring, near) if erring else ""}
{_missed(missed)}
{_false(false, len(every) - len(failed))}"""


def _largest(worst: Finding, near: int | None) -> str:
    """The worst forecast, and when S really came near its threshold."""
    assert worst.probed is not None and worst.forecast is not None and worst.seen is not None
    text = (
        f"The largest error, {wording.percent(worst.error)}, is that of {worst.case.name} "
        f"(forecast {wording.step(worst.forecast.step)}, seen at {worst.seen:,})"
    )
    if near is None:
        return text + ": its S was not near its threshold by then."
    return (
        f"{text}: S came within 5 % of its threshold at step {near:,}, and the loss took from "
        "there to be seen above 1e-8. The forecast is of the crossing, and knows nothing of how "
        "slowly what follows grows."
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
