"""The closed form of a safe eps: just below it a run fails, just above it holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reproductions import page, wording
from reproductions.progress import Progress
from reproductions.runs import Order, Outcome, train
from reproductions.scale import Scale
from reproductions.stability import problem
from sweeper.optim.configuration import parse

TITLE = "An eps that is large enough, in closed form"
DATA_SETS, HORIZON = 5, 20_000
BELOW, ABOVE = 0.9, 1.1


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs of one data set."""

    curvature: float
    eps: float
    below: Outcome
    above: Outcome


def measure(scale: Scale, progress: Progress) -> list[Pair]:
    """One pair per data set."""
    horizon = scale.steps(HORIZON)
    found = []
    for data in range(scale.count(DATA_SETS)):
        progress.say(f"safe eps: data set {data + 1} of {scale.count(DATA_SETS)}")
        eps = problem.closed_form(parse(problem.ADAM), horizon, data)
        orders = [Order({**problem.ADAM, "eps": f * eps}, horizon) for f in (BELOW, ABOVE)]
        below, above = train(problem.task(data), orders, compiled=scale.compiled)
        found.append(Pair(problem.curvature(data), eps, below, above))
    return found


def section(found: list[Pair]) -> str:
    """The section of the page."""
    head = ["data set", "lambda_max(H)", "eps*", f"{BELOW} eps*", "maximum after the minimum",
            f"{ABOVE} eps*", "maximum after the minimum"]  # fmt: skip
    rows = [_line(data, pair) for data, pair in enumerate(found)]
    right = sum(pair.below.failed and not pair.above.failed for pair in found)
    return f"""### {TITLE}

A divisor sqrt(vhat) + eps is at least eps, so the sharpness stays below the threshold of Adam,
2 (1 + beta1) / (1 - beta1) = 38, whatever the second moment does, if

    eps >= eps* = lr lambda_max(H) (1 - beta1) / (2 (1 + beta1)).

That is sufficient on the full batch, and here it is sharp: {BELOW} eps* fails and {ABOVE} eps*
holds for {found[0].below.order.horizon:,} steps on **{right} of {len(found)}** data sets.

{page.table(head, rows)}"""


def _line(data: int, pair: Pair) -> list[str]:
    return [
        "the question's" if data == 0 else f"fresh {data}",
        f"{pair.curvature:,.0f}",
        f"{pair.eps:.4f}",
        _said(pair.below),
        _climb(pair.below),
        _said(pair.above),
        _climb(pair.above),
    ]


def _said(outcome: Outcome) -> str:
    onset = outcome.verdict["onset_step"]
    return "holds" if onset is None else f"**fails** at {wording.step(onset)}"


def _climb(outcome: Outcome) -> str:
    lowest = int(np.nanargmin(outcome.loss))
    return wording.loss(float(np.nanmax(outcome.loss[lowest:])))
