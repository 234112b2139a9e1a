"""Problems nobody tuned for: does the failure come, and was it forecast?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reproductions import figures, page, wording
from reproductions.divisor import Prober, lanczos
from reproductions.progress import Progress
from reproductions.runs import UNIT, Order, Outcome, train
from reproductions.scale import Scale
from reproductions.stability.optimizers import early_forecast
from sweeper.stability.forecast import Forecast
from sweeper.stability.threshold import threshold
from sweeper.tasks.bundled import digits
from sweeper.tasks.task import Task

TITLE = "Problems that nobody tuned for"
FIGURE = "stability_untuned.png"
_NEAR = 0.9
# Probes so many steps before a failure.
_CLOSE = (0, 20, 40, 60, 100, 150, 200, 300, 400, 600, 800, 1000, 1400)
_EARLY = tuple(0.005 * place for place in range(1, 21))
_LATE = (0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Trial:
    """One run.

    Args:
        forecast: from probes in its first tenth, and the first half of what comes before it is
            near its threshold or fails.
        sharpness: (steps, S as a share of the threshold) over the whole run, and close
            before a failure.
        control: the same run in float64, where it failed.
    """

    problem: str
    lr: float
    outcome: Outcome
    probed: int | None
    forecast: Forecast | None
    sharpness: tuple[np.ndarray, np.ndarray]
    control: Outcome | None = None

    @property
    def edge(self) -> int | None:
        """The first step looked at with S near its threshold."""
        return _near(*self.sharpness)


def _near(steps: np.ndarray, share: np.ndarray) -> int | None:
    over = np.flatnonzero(share >= _NEAR)
    return int(steps[over[0]]) if over.size else None


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
    "logistic regression": (logistic, 200_000, (1e-3, 1e-2, 1e-1, 1.0), _EARLY),
    "digits network": (
        lambda: replace(digits.build(), batch_size=None),
        20_000,
        (1e-3, 3e-3, 1e-2, 3e-2),
        (0.01, 0.02, 0.05, 0.1),  # a probe of it takes longer
    ),
}


def measure(scale: Scale, progress: Progress) -> list[Trial]:
    """All runs of all problems."""
    found = []
    for name, (build, full, lrs, early) in PROBLEMS.items():
        progress.say(f"untuned: {name}, {full:,} steps")
        task, horizon = build(), scale.steps(full)
        looks = tuple(sorted({max(1, round(s * horizon / UNIT)) * UNIT for s in early + _LATE}))
        orders = [Order({"optimizer": "adam", "lr": lr}, horizon, looks=looks) for lr in lrs]
        outcomes = train(task, orders, compiled=scale.compiled)
        progress.say(f"untuned: {name}, probes")
        prober = lanczos(task)
        trials = [_trial(name, lr, o, prober) for lr, o in zip(lrs, outcomes, strict=True)]
        for one in trials:
            if one.outcome.failed:
                progress.say(f"untuned: {name}, lr {one.lr:g} again: close before, in float64")
                close = _close_before(one, len(lrs), task, prober, scale)
                again = [replace(one.outcome.order, looks=())]
                control = train(task, again, dtype="float64", compiled=scale.compiled)[0]
                one = replace(one, sharpness=close, control=control)
            found.append(one)
    return found


def _close_before(
    one: Trial, count: int, task: Task, prober: Prober, scale: Scale
) -> tuple[np.ndarray, np.ndarray]:
    """The sharpness with probes shortly before the failure, too.

    The run is made again in a pack of the same size: then its numbers are the same.
    """
    onset = one.outcome.verdict["onset_step"]
    looks = {(onset - before) // UNIT * UNIT for before in _CLOSE if onset - before >= UNIT}
    again = replace(one.outcome.order, looks=tuple(sorted(looks)))
    outcome = train(task, [again] * count, compiled=scale.compiled)[0]
    assert np.array_equal(outcome.loss, one.outcome.loss, equal_nan=True)
    steps, share = _sharpness(outcome, prober)
    steps, share = (np.concatenate(pair) for pair in zip(one.sharpness, (steps, share)))
    order = np.unique(steps, return_index=True)[1]
    return steps[order], share[order]


def _trial(name: str, lr: float, outcome: Outcome, prober: Prober) -> Trial:
    horizon, onset = outcome.order.horizon, outcome.verdict["onset_step"]
    steps, share = _sharpness(outcome, prober)
    ends = [step / 2 for step in (onset, _near(steps, share)) if step is not None]
    probed, said = early_forecast(outcome, prober, min(horizon / 10, *ends, np.inf))
    return Trial(name, lr, outcome, probed, said, (steps, share))


def _sharpness(outcome: Outcome, prober: Prober) -> tuple[np.ndarray, np.ndarray]:
    """Steps looked at, and S as a share of the threshold."""
    horizon, steps = outcome.order.horizon, np.array(sorted(outcome.rows))
    values = [prober(outcome.configuration, horizon, outcome.rows[s]).sharpness for s in steps]
    return steps, np.array(values) / threshold(outcome.configuration, horizon, steps.astype(float))


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
            for ax in (top, bottom):
                ax.xaxis.set_major_formatter(figures.EngFormatter(sep=""))
            bottom.set(title="sharpness over its threshold", yscale="log", xlabel="step")
            top.legend(ncols=2, fontsize=8.5)


def _curve(ax: figures.Axes, one: Trial, colour: str) -> None:
    """Lowest and highest loss of short windows: spikes stay visible, the file small."""
    loss = np.maximum(one.outcome.loss, 1e-12)
    width = max(1, loss.size // 800)
    parts = loss[: loss.size // width * width].reshape(-1, width)
    at = (np.arange(len(parts)) + 0.5) * width
    ax.plot(at, np.median(parts, axis=1), color=colour, lw=1.2, label=f"lr {one.lr:g}")
    if one.control is not None:
        ax.plot(
            np.maximum(one.control.loss, 1e-12), color="black", lw=1.2, ls=(0, (4, 2)),
            label=f"lr {one.lr:g}, float64",
        )  # fmt: skip
    ax.fill_between(at, parts.min(1), parts.max(1), color=colour, alpha=0.35, lw=0)


def section(found: Sequence[Trial]) -> str:
    """The section of the page."""
    head = ["", "lr", "steps", "minimum", "maximum after", "decades climbed", "verdict", "onset",
            "S near its threshold from", "forecast", "made at"]  # fmt: skip
    return f"""### {TITLE}

Adam, everything but lr at its default, full batch, one seed: logistic regression on breast cancer
data (569 x 30, standardized), and the digits network. The verdict, its limits and the forecast are
those of the perceptron. When to probe was settled after a first look, in which the probes of
logistic regression came after S had reached its threshold. `S near its threshold from` is the
first of the probes with 90 % of it; forecasts of the crossing know probes of the first tenth, and
no later than half of the step where S comes near or the run fails. A user does not know that: they
say how well S is carried forward, not that a user would have probed just then.

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
        return "doesn't apply: S doesn't grow" if "not grown" in found.reason else "doesn't apply"
    if found.confidence == "measured":
        return "at its threshold already"
    return "not within the run" if found.step is None else wording.step(found.step)


def _story(found: Sequence[Trial]) -> str:
    return "\n\n".join(
        _told(name, [one for one in found if one.problem == name]) for name in PROBLEMS
    )


def _told(name: str, runs: Sequence[Trial]) -> str:
    """What happened on one problem."""
    failed = [one for one in runs if one.outcome.failed]
    reached = [one for one in runs if one.edge is not None]
    text = f"**{name.capitalize()}.** {len(failed)} of {len(runs)} runs fail"
    text += (
        f"; {len(reached)} come to their threshold"
        if reached
        else "; none comes near its threshold"
    )
    quiet = [one for one in reached if not one.outcome.failed]
    if quiet:
        decades = max(one.outcome.verdict["draw_up"] for one in quiet)
        text += (
            f". {len(quiet)} of these hold: S hovers there while the loss goes on falling, with "
            f"spikes of up to {decades:.1f} decades. To reach the threshold is not yet to fail "
            "by the verdict"
        )
    said = [one for one in runs if one.forecast is not None and one.forecast.step is not None]
    pairs = [
        f"{wording.step(one.forecast.step)} for {wording.step(one.edge)} (lr {one.lr:g})"
        for one in said
        if one.forecast is not None and one.edge is not None
    ]
    if pairs:
        text += f". The crossing was forecast at {wording.listing(pairs)}"
    return text + "." + "".join(_control(one) for one in failed)


def _control(one: Trial) -> str:
    """What a failure was, as far as the probes and the run in float64 tell."""
    assert one.control is not None
    onset, (steps, share) = one.outcome.verdict["onset_step"], one.sharpness
    before = steps <= onset
    far = int(steps[before][np.argmin(np.abs(steps[before] - (onset - 1000)))])
    at = int(steps[before][-1])
    values = dict(zip(steps.tolist(), share.tolist()))
    text = (
        f"\n\nAt lr {one.lr:g} the loss jumps by {one.outcome.verdict['draw_up']:.1f} decades at "
        f"step {onset:,}. S is {values[far]:.2f} of its threshold at step {far:,} and "
        f"**{values[at]:.2f} of it at step {at:,}**"
    )
    at_edge = values[at] >= _NEAR
    text += ": the same edge as the perceptron's." if at_edge else ", so this is no edge of S."
    floors = (
        f"lowest loss {wording.loss(one.control.verdict['best_loss'])} for "
        f"{wording.loss(one.outcome.verdict['best_loss'])}"
    )
    if one.control.failed:
        text += f" In float64 the same run fails as well ({floors})."
    else:
        text += (
            f" But **in float64 the same run holds** ({floors}), its loss still falling: rounding "
            "takes it to the edge here. Probably gradients of a cross-entropy near 1e-8 round to "
            "zero in float32, so that nothing refreshes the second moment; gradients were not "
            "looked at."
        )
    said = one.forecast is not None and one.forecast.step is not None
    return text + ("" if said else " It was not forecast: S was not growing in the first tenth.")
