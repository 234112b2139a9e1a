"""The section `lr_sensitivity`: what a wrong lr costs a small language model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reproductions import figures, page, wording
from reproductions.lr_sensitivity.curves import CHOICES, END, HORIZON, LRS, SEEDS, Curve, measure
from reproductions.lr_sensitivity.effects import Effect, effects, lines, told
from reproductions.progress import Progress
from reproductions.scale import Scale
from sweeper.tasks.bundled import char_lm
from sweeper.tasks.task import Task

TITLE = "What a wrong learning rate costs a small language model"
FIGURE = "lr_sensitivity.png"
HEADINGS = (f"## {TITLE}",)


def make(scale: Scale, progress: Progress, figures_folder: Path) -> str:
    """Measure and write."""
    task = char_lm.build()
    curves, entropy = measure(task, scale, progress), entropy_of(task)
    draw(curves, entropy, figures_folder)
    return section(curves, entropy, scale)


def entropy_of(task: Task) -> float:
    """Of single characters, in nats: the loss of who knows their frequencies and no context."""
    _, counts = task.data[1].unique(return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * shares.log()).sum())


def draw(curves: Sequence[Curve], entropy: float, folder: Path) -> None:
    """Loss against lr: rows are schedules, columns eps."""
    panels = list(itertools.product(CHOICES["schedule"], CHOICES["eps"]))
    with figures.drawn(folder / FIGURE, 2, 2, (9.6, 6.4)) as axes:
        for ax, (schedule, eps) in zip(axes, panels, strict=True):
            chosen = [c for c in curves if (c.setting.schedule, c.setting.eps) == (schedule, eps)]
            for curve in chosen:
                _plot(ax, curve)
            ax.axhline(curves[0].first.mean(), color=figures.GREY, lw=1, ls=":")
            ax.axhline(entropy, color=figures.GREY, lw=1, ls="-.")
            ax.set(
                title=f"{schedule}, eps {eps:g}", xscale="log", xlabel="lr", ylabel="loss, nats"
            )
            ax.sharey(axes[0])
        # In a panel where the curves leave room.
        names = axes[0].get_legend_handles_labels()
        axes[2].legend(*names, fontsize=8.5, loc="upper left", bbox_to_anchor=(0, 0.93))


def _plot(ax: figures.Axes, curve: Curve) -> None:
    setting, costs = curve.setting, curve.costs
    colour = figures.BLUE if setting.beta2 == CHOICES["beta2"][0] else figures.ORANGE
    warm = setting.warmup > 0
    ax.plot(
        curve.lrs, costs.mean(0), color=colour, lw=1.5, ls="--" if warm else "-", marker="o", ms=4,
        mfc="white" if warm else colour,
        label=f"beta2 {setting.beta2:g}, {'warm-up' if warm else 'no warm-up'}",
    )  # fmt: skip
    ax.fill_between(curve.lrs, costs.min(0), costs.max(0), color=colour, alpha=0.15, lw=0)


def section(curves: Sequence[Curve], entropy: float, scale: Scale) -> str:
    """The section of the page."""
    found = effects(curves)
    return f"""## {TITLE}

Wortsman et al. 2023 ("Small-scale proxies for large-scale Transformer training instabilities")
sum up a curve of loss against lr in one number, the LR sensitivity: with l the last loss, l0 that
at initialisation, l* the lowest l of the range, the mean over the range of min(l, l0) - l*. It
is sweeper's own [policy](stability.md) `lr_sensitivity` that computes it here, seed by seed.

Task `char_lm` (a GPT of two blocks, width 32; mini-batches of 8 pieces of 32 characters),
Adam without weight decay, {scale.steps(HORIZON):,} steps, lr {LRS[0]:g} to {LRS[-1]:g} in half
decades (the paper's range, and 1), {wording.plural(scale.count(SEEDS), "seed")}. The last loss is
the mean of the last {100 * END:g} % of the steps, on batches not seen before. Warm-up is linear
over {100 * CHOICES["warmup"][1]:g} % of the steps. A run that turns non-finite costs l0:
{_diverged(curves)}.

![loss against lr by schedule, eps, beta2 and warm-up](figures/{FIGURE})

Lines are means of min(l, l0) over seeds, bands their range. Dotted is l0; dash-dotted
({entropy:.2f} nats) the entropy of single characters, the loss of who knows their frequencies and
no context.

{_table(curves)}

The two last columns are what lr below and above the best one add to the sensitivity.

{_high(curves, entropy)}

What a factor changes, from pairs that differ in it alone. A change is decided when its mean over
seeds is beyond three standard errors, pooled over the pairs of the factor:

{lines(found)}

{_claim(found)}"""


def _table(curves: Sequence[Curve]) -> str:
    head = ["schedule", "warm-up", "eps", "beta2", "best lr", "its loss", "LR sensitivity",
            "range over seeds", "from lower lr", "from higher lr"]  # fmt: skip
    return page.table(head, [_row(curve) for curve in curves])


def _row(curve: Curve) -> list[str]:
    setting, values = curve.setting, curve.sensitivity
    below, above = curve.parts()
    return [
        setting.schedule,
        f"{setting.warmup:.0%}" if setting.warmup else "none",
        f"{setting.eps:g}",
        f"{setting.beta2:g}",
        f"{curve.lrs[curve.best]:g}",
        f"{curve.costs.mean(0)[curve.best]:.3f}",
        f"**{values.mean():.3f}**",
        f"{values.min():.3f} to {values.max():.3f}",
        f"{below:.3f}",
        f"{above:.3f}",
    ]


def _diverged(curves: Sequence[Curve]) -> str:
    lost = sum(int(np.isnan(curve.loss).sum()) for curve in curves)
    capped = sum(int((curve.loss > curve.first).sum()) for curve in curves)
    total = sum(curve.loss.size for curve in curves)
    return f"{lost} of {total} do; {capped} more end above l0, and cost it, too"


def _high(curves: Sequence[Curve], entropy: float) -> str:
    """Whether lr above the best is what costs, for every curve."""
    parts = [curve.parts() for curve in curves]
    unstable = sum(above > below for below, above in parts)
    costs = [curve.costs.mean(0) for curve in curves]
    lost = [one[-1] - one.min() for one in costs]
    lrs = [curve.lrs[one > entropy] for curve, one in zip(curves, costs, strict=True)]
    useless = [float(one.min()) for one in lrs if one.size]
    text = (
        f"A small model, too, fails at a high lr: at lr {curves[0].lrs[-1]:g} the {len(curves)} "
        f"curves end {min(lost):.2f} to {max(lost):.2f} nats above their best. The higher lr make "
        f"more of the sensitivity than the lower ones in {unstable} of {len(curves)}."
    )
    if useless:
        text += (
            f" {len(useless)} of {len(curves)} curves come to a mean loss above that entropy, the "
            f"first at lr {min(useless):g}, the last at {max(useless):g}."
        )
    return text + f" {_widest(curves)}"


def _widest(curves: Sequence[Curve]) -> str:
    """Where seeds differ most."""
    ranges = np.array([np.ptp(curve.costs, axis=0) for curve in curves])
    row, column = map(int, np.unravel_index(ranges.argmax(), ranges.shape))
    return (
        f"Seeds differ most, by {ranges[row, column]:.2f} nats, at lr "
        f"{curves[row].lrs[column]:g} of {told(curves[row].setting)}."
    )


def _claim(found: Sequence[Effect]) -> str:
    """The paper's claim on warm-up."""
    warmup = next((one for one in found if one.factor == "warmup"), None)
    if warmup is None:
        return ""
    means = warmup.changes.mean(1)
    return (
        f"The paper says that a longer warm-up lowers the LR sensitivity: **{warmup.verdict}** "
        f"here. The mean over seeds is lower in {int((means < 0).sum())} of {means.size} pairs, "
        "decided or not. Schedule, eps and beta2 are no claims of the paper, but settings to "
        "compare. Its models are larger, and train for far longer: a tenth of these steps is a "
        "short warm-up."
    )
