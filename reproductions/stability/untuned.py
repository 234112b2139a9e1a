"""Problems nobody tuned for: does the failure come, and was it forecast?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reproductions import figures, page
from reproductions.divisor import Prober, lanczos
from reproductions.progress import Progress
from reproductions.runs import Order, Outcome, train
from reproductions.scale import Scale
from reproductions.stability import wording
from reproductions.stability.optimizers import early_forecast
from sweeper.stability.forecast import Forecast
from sweeper.stability.threshold import threshold
from sweeper.tasks import digits
from sweeper.tasks.task import Task

TITLE = "Problems that nobody tuned for"
FIGURE = "stability_untuned.png"
_LATE = (0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Trial:
    """One run.

    Args:
        forecast: from probes in its first tenth (and first half before a failure).
        sharpness: (steps, S as a share of the threshold) over the whole run.
    """

    problem: str
    lr: float
    outcome: Outcome
    probed: int | None
    forecast: Forecast | None
    sharpness: tuple[np.ndarray, np.ndarray]

    @property
    def edge(self) -> int | None:
        """The first step looked at with S at its threshold."""
        over = np.flatnonzero(self.sharpness[1] >= 1)
        return int(self.sharpness[0][over[0]]) if over.size else None


def logistic() -> Task:
    """Logistic regression on scikit-learn's breast cancer data, standardized, full batch."""
    from sklearn.datasets import load_breast_cancer

    inputs, labels = load_breast_cancer(return_X_y=True)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.softplus(-output[:, 0] * target).mean()

    return Task(
        model=lambda: nn.Linear(inputs.shape[1], 1),
        loss=loss,
        data=(
            torch.from_numpy(inputs.astype(np.float32)),
            torch.from_numpy((2 * labels - 1).astype(np.float32)),
        ),
    )


PROBLEMS = {
    "logistic regression": (logistic, 200_000, (1e-3, 1e-2, 1e-1, 1.0)),
    "digits network": (
        lambda: replace(digits.build(), batch_size=None),
        20_000,
        (1e-3, 3e-3, 1e-2, 3e-2),
    ),
}


def measure(scale: Scale, progress: Progress) -> list[Trial]:
    """All runs of all problems."""
    found = []
    for name, (build, full, lrs) in PROBLEMS.items():
        progress.say(f"untuned: {name}, {full:,} steps")
        task, horizon = build(), scale.steps(full)
        orders = [
            Order({"optimizer": "adam", "lr": lr}, horizon, looks=_looks(scale, horizon))
            for lr in lrs
        ]
        outcomes = train(task, orders, compiled=scale.compiled)
        progress.say(f"untuned: {name}, probes")
        prober = lanczos(task)
        found += [_trial(name, lr, o, prober) for lr, o in zip(lrs, outcomes, strict=True)]
    return found


def _looks(scale: Scale, horizon: int) -> tuple[int, ...]:
    unit = scale.looks(horizon)[0]
    late = {round(share * horizon / unit) * unit for share in _LATE}
    return tuple(sorted({*scale.looks(horizon), *late}))


def _trial(name: str, lr: float, outcome: Outcome, prober: Prober) -> Trial:
    horizon, onset = outcome.order.horizon, outcome.verdict["onset_step"]
    latest = min(horizon / 10, np.inf if onset is None else onset / 2)
    probed, said = early_forecast(outcome, prober, latest)
    steps = np.array(sorted(outcome.rows))
    values = [prober(outcome.configuration, horizon, outcome.rows[s]).sharpness for s in steps]
    edge = threshold(outcome.configuration, horizon, steps.astype(float))
    return Trial(name, lr, outcome, probed, said, (steps, np.array(values) / edge))


def draw(found: Sequence[Trial], folder: Path) -> None:
    """Loss and sharpness of every run."""
    names = list(PROBLEMS)
    colours = (figures.BLUE, figures.GREEN, figures.PURPLE, figures.ORANGE)
    with figures.drawn(folder / FIGURE, 2, len(names), (9.6, 5.6)) as axes:
        for column, name in enumerate(names):
            top, bottom = axes[column], axes[len(names) + column]
            for colour, one in zip(colours, [o for o in found if o.problem == name]):
                _curve(top, one, colour)
                bottom.plot(*one.sharpness, color=colour, marker=".", lw=1.2)
            bottom.axhline(1, color="black", lw=1)
            top.set(title=f"{name}: training loss", yscale="log")
            bottom.set(title="sharpness over its threshold", yscale="log", xlabel="step")
            top.legend(ncols=2, fontsize=8.5)


def _curve(ax: figures.Axes, one: Trial, colour: str) -> None:
    """Lowest and highest loss of short windows: spikes stay visible, the file small."""
    loss = np.maximum(one.outcome.loss, 1e-12)
    width = max(1, loss.size // 800)
    parts = loss[: loss.size // width * width].reshape(-1, width)
    at = (np.arange(len(parts)) + 0.5) * width
    ax.plot(at, np.median(parts, axis=1), color=colour, lw=1.2, label=f"lr {one.lr:g}")
    ax.fill_between(at, parts.min(1), parts.max(1), color=colour, alpha=0.35, lw=0)


def section(found: Sequence[Trial]) -> str:
    """The section of the page."""
    head = ["", "lr", "steps", "minimum", "maximum after", "decades climbed", "verdict", "onset",
            "S at its threshold from", "forecast", "made at"]  # fmt: skip
    return f"""### {TITLE}

Adam, everything but lr at its default, full batch, one seed: logistic regression on breast cancer
data (569 x 30, standardized), and the digits network. Nothing about the failure, the verdict or
the forecast was adjusted to them. Forecasts know probes of the first tenth only. `S at its
threshold from` is the first of the probes at which it is.

{page.table(head, [_line(one) for one in found])}

![loss and sharpness of both problems](figures/{FIGURE})

{_story(found)}"""


def _line(one: Trial) -> list[str]:
    loss, verdict = one.outcome.loss, one.outcome.verdict
    lowest = int(np.nanargmin(loss))
    return [
        one.problem,
        f"{one.lr:g}",
        wording.step(loss.size),
        wording.loss(float(loss[lowest])),
        wording.loss(float(np.nanmax(loss[lowest:]))),
        f"{verdict['draw_up']:.1f}",
        "**fails**" if verdict["failed"] else "holds",
        wording.step(verdict["onset_step"]),
        wording.step(one.edge),
        _said(one.forecast),
        wording.step(one.probed),
    ]


def _said(found: Forecast | None) -> str:
    if found is None:
        return "no probe early enough"
    if not found.applies:
        return f"doesn't apply: {found.reason.split(',')[0]}"
    if found.confidence == "measured":
        return "at its threshold already"
    return "not within the run" if found.step is None else wording.step(found.step)


def _story(found: Sequence[Trial]) -> str:
    text = []
    for name in PROBLEMS:
        runs = [one for one in found if one.problem == name]
        failed = [one for one in runs if one.outcome.failed]
        reached = [one for one in runs if one.edge is not None]
        text.append(
            f"{name.capitalize()}: {len(failed)} of {len(runs)} runs fail, {len(reached)} reach "
            f"the threshold."
        )
    return " ".join(text)
