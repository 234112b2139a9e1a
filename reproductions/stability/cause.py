"""Why Adam climbs back: second moment, sharpness, threshold and loss on one time axis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reproductions import figures, wording
from reproductions.divisor import Divisor
from reproductions.progress import Progress
from reproductions.runs import UNIT, Order, Outcome, rise, train
from reproductions.scale import Scale
from reproductions.stability import problem
from sweeper.optim.configuration import parse
from sweeper.stability.threshold import threshold

TITLE = "Why: the second moment decays until the steps are too long"
FIGURE = "stability_cause.png"
HORIZON = 6_000
_DTYPES = ("float32", "float64")


@dataclass(frozen=True, slots=True)
class Course:
    """One run of Adam with its defaults, looked at every few steps.

    Args:
        steps: `[n]`, updates made.
        moment: `[n]`, root mean square of sqrt(vhat).
        sharpness: `[n]`, S.
    """

    outcome: Outcome
    steps: np.ndarray
    moment: np.ndarray
    sharpness: np.ndarray

    @property
    def crossing(self) -> int | None:
        """First step looked at where S has reached its threshold, after the first descent."""
        late = self.steps >= 400
        over = np.flatnonzero(late & (self.sharpness >= edge()))
        return int(self.steps[over[0]]) if over.size else None


def edge() -> float:
    """Threshold of Adam with its defaults."""
    return float(threshold(parse(problem.ADAM), HORIZON, np.array([1000.0]))[0])


def measure(scale: Scale, progress: Progress) -> dict[str, Course]:
    """The question's own run in both precisions."""
    found = {}
    horizon = scale.steps(HORIZON)
    for dtype in _DTYPES:
        progress.say(f"cause: {dtype}")
        order = Order(problem.ADAM, horizon, looks=tuple(range(UNIT, horizon, UNIT)))
        outcome = train(problem.task(0), [order], dtype=dtype, compiled=scale.compiled)[0]
        found[dtype] = _course(outcome)
    return found


def _course(outcome: Outcome) -> Course:
    look, steps = problem.prober(0), np.array(sorted(outcome.rows))
    horizon = outcome.order.horizon
    moments, sharpness = [], []
    for step in steps:
        row = outcome.rows[int(step)]
        root = Divisor.of(outcome.configuration, horizon, row).root
        assert root is not None
        moments.append(float(np.sqrt(np.mean(root**2))))
        sharpness.append(look(outcome.configuration, horizon, row).sharpness)
    return Course(outcome, steps, np.array(moments), np.array(sharpness))


def draw(found: dict[str, Course], folder: Path) -> None:
    """Loss, second moment and sharpness over one time axis."""
    with figures.drawn(folder / FIGURE, 3, 1, (7.6, 7.4)) as axes:
        styles: dict[str, dict[str, Any]] = {
            "float32": {"color": figures.BLUE, "lw": 1.3},
            "float64": {"color": figures.ORANGE, "lw": 1.3, "ls": (0, (4, 1.6))},
        }
        for dtype, course in found.items():
            loss = course.outcome.loss
            axes[0].plot(loss, **{**styles[dtype], "lw": 0.8, "ls": "-"}, label=dtype)
            axes[1].plot(course.steps, course.moment, **styles[dtype])
            axes[2].plot(course.steps, course.sharpness, **styles[dtype])
        _annotate(axes, found)


def _annotate(axes: list[figures.Axes], found: dict[str, Course]) -> None:
    crossing, limit = found["float32"].crossing, edge()
    titles = (
        "Training loss: down to rounding, then up",
        r"RMS of $\sqrt{\hat v}$, the divisor: it decays while gradients are small beside it",
        r"Sharpness $S = \mathrm{lr}\;\lambda_{\max}(P^{-1/2} H P^{-1/2})$, "
        r"$P = \sqrt{\hat v} + \mathrm{eps}$: it grows until it reaches the threshold",
    )
    for ax, title in zip(axes, titles, strict=True):
        ax.set(title=title, yscale="log", xlim=(0, found["float32"].outcome.loss.size))
        if crossing is not None:
            ax.axvline(crossing, color=figures.GREY, lw=1, ls=":")
        if ax is not axes[-1]:
            ax.tick_params(labelbottom=False)
    axes[0].set_ylim(1e-30, 1e3)
    for ax, ticks in ((axes[1], (0.1, 0.3, 1, 3, 10)), (axes[2], (1, 2, 5, 10, 20, 38))):
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
    axes[2].set_ylim(1, 70)
    axes[2].axhline(limit, color="black", lw=1)
    axes[2].annotate(
        f"threshold 2(1 + β₁)/(1 - β₁) = {limit:.0f}",
        (0.01, limit), xycoords=("axes fraction", "data"), xytext=(0, 4),
        textcoords="offset points", fontsize=9,
    )  # fmt: skip
    if crossing is not None:
        axes[0].annotate(
            f"S reaches the threshold,\nstep {crossing:,}",
            (crossing, 1e-24), xytext=(6, 0), textcoords="offset points", fontsize=9,
            color="#404040",
        )  # fmt: skip
    axes[2].set_xlabel("step")
    for line in axes[0].legend(loc="upper right", ncols=2).get_lines():
        line.set_linewidth(2.5)


def section(found: dict[str, Course], eps: float) -> str:
    """The section of the page.

    Args:
        eps: eps* of the question's data.
    """
    single, double = found["float32"], found["float64"]
    after = single.crossing or 0
    hover = single.sharpness[single.steps > after + 500]
    hovers = f"{np.median(hover):.1f} in the median" if hover.size else "not reached here"
    text = f"""Once the loss is at its floor gradients are small beside their own past, so v only
decays, by beta2 a step. The divisor shrinks and the effective step grows: S doubles every
2 ln 2 / (1 - beta2) = 1,386 steps. At step {wording.step(single.crossing)} it reaches the
threshold, the sharpest direction begins to oscillate, the loss passes 1e-8 at step
{wording.step(rise(single.outcome.loss))}, and the gradients that this makes keep S at the
threshold from then on ({hovers}, for {edge():.0f})."""
    return f"""### {TITLE}

{text}

![loss, second moment and sharpness of Adam over {single.outcome.loss.size:,} steps; \
S reaches its threshold where the loss begins to rise](figures/{FIGURE})

The two explanations that the forum gives, tested:

- *Rounding of small numbers.* No. In float64 the loss goes down to
  {wording.loss(double.outcome.verdict["best_loss"])} instead of
  {wording.loss(single.outcome.verdict["best_loss"])}, and climbs back the same: S reaches the
  threshold at step {wording.step(double.crossing)} (float32:
  {wording.step(single.crossing)}), the loss passes 1e-8 at step
  {wording.step(rise(double.outcome.loss))} (float32:
  {wording.step(rise(single.outcome.loss))}).
- *Division by almost zero.* Not as such. eps 1e-4, ten thousand times the default, changes next
  to nothing (first table); what is needed is eps* = {eps:.3f}, which is no small number guarding a
  division but the point where lr lambda_max(H) / eps is at the threshold. Raising eps helps
  because it caps the sharpness."""
