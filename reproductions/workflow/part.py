"""The section `workflow`: the table of schedules over horizons, the figure, what holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reproductions import figures, page, wording
from reproductions.progress import Progress
from reproductions.scale import Scale
from reproductions.seeds import spread
from reproductions.workflow import courses
from reproductions.workflow.courses import JOKE, Method

TITLE = "A workflow in place of 3e-4: range test, cycles, restarts, 1cycle"
HEADINGS = (f"## {TITLE}",)
FIGURE = "workflow.png"
_COLOURS = {"constant": figures.GREY, "cyclical": figures.GREEN, "sgdr": figures.PURPLE,
            "onecycle": figures.ORANGE}  # fmt: skip
_TICKS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 0.9)


def make(scale: Scale, progress: Progress, figures_folder: Path) -> str:
    """Measure and write."""
    methods = courses.measure(scale, progress)
    draw(methods, figures_folder / FIGURE)
    return section(methods)


def draw(methods: Sequence[Method], path: Path) -> None:
    """Held-out error over the horizon, a panel for each optimizer."""
    joke, *others = methods
    optimizers = sorted({one.optimizer for one in others})
    errors = [error for one in methods for error in _errors(one)]
    with figures.drawn(path, 1, len(optimizers), (9.6, 3.9)) as axes:
        for ax, optimizer in zip(axes, optimizers, strict=True):
            for one in (joke, *(one for one in others if one.optimizer == optimizer)):
                _line(ax, one)
            ax.set(
                title=f"{optimizer}: held-out error when the whole schedule is that long",
                xscale="log",
                yscale="log",
                xlabel="horizon, steps",
            )
            horizons = sorted(joke.accuracy)
            ax.set_xticks(horizons, [f"{steps:,}" for steps in horizons])
            ax.set_yticks(_TICKS, [f"{value:.0%}" for value in _TICKS])
            ax.minorticks_off()
            ax.set_ylim(0.9 * min(errors), 1.1 * max(errors))
            ax.legend(fontsize=8.5)


def _line(ax: figures.Axes, one: Method) -> None:
    is_joke = one.name == JOKE
    ax.plot(
        sorted(one.accuracy),
        _errors(one),
        marker="o",
        ms=4.5,
        color="black" if is_joke else _COLOURS[one.schedule],
        ls="--" if is_joke else "-",
        label="adam, 3e-4" if is_joke else one.schedule,
    )


def _errors(one: Method) -> list[float]:
    """Mean held-out error by horizon, at least a tenth of a percent."""
    return [max(1e-3, float(1 - one.accuracy[steps].mean())) for steps in sorted(one.accuracy)]


def section(methods: Sequence[Method]) -> str:
    """The text."""
    joke, *others = methods
    horizons = sorted(joke.accuracy)
    seeds = joke.accuracy[horizons[0]].size
    head = ["", "trials", "best rank", "lr", "weight decay",
            *(f"{steps:,} steps" for steps in horizons)]  # fmt: skip
    ordered = [joke, *sorted(others, key=lambda one: one.rank or 0)]
    return f"""## {TITLE}

A talk of 2018 on learning rates jokes that 3e-4 is the best one for Adam, and recommends a range
test, then cyclical learning rates (Smith 2015), warm restarts (Loshchilov & Hutter 2016) or 1cycle
(Smith & Topin 2017), with decoupled weight decay. `search_spaces/workflow.yaml` is that as one
sweep on the small CNN on digits: `lr: auto` and `base: auto` come from the range test. (The file
searches with TPE, which soon leaves what is behind; here it is `qmc`, so that every schedule has
about as many settings to choose from.) The best setting of every optimizer and schedule is then
trained anew on {seeds} fresh seeds with its schedule stretched over other horizons. Cells:
held-out accuracy in percent with its standard deviation over the seeds, and the median tail loss.

{page.table(head, [_row(one, horizons) for one in ordered])}

![held-out error over the horizon](figures/{FIGURE})

{_times(joke, others, horizons)}

{_super_convergence(others, horizons)}"""


def _row(one: Method, horizons: Sequence[int]) -> list[str]:
    decay = one.config.get("weight_decay") or 0.0
    return [
        one.name if one.name != JOKE else f"{JOKE}: adam, constant",
        str(one.trials),
        "-" if one.rank is None else str(one.rank),
        wording.loss(one.config["lr"]),
        wording.loss(decay) if decay else "0",
        *(_cell(one, steps) for steps in horizons),
    ]


def _cell(one: Method, steps: int) -> str:
    accuracy = 100 * one.accuracy[steps]
    tail = float(np.median(one.loss[steps]))
    loss = wording.loss(tail) if np.isfinite(tail) else "no tail"
    return f"{accuracy.mean():.1f} ± {spread(accuracy):.1f}; {loss}"


def _reaches(one: Method, target: float, horizons: Sequence[int]) -> int | None:
    """The shortest horizon at whose end the mean accuracy is there."""
    return next((steps for steps in horizons if one.accuracy[steps].mean() >= target), None)


def _times(joke: Method, others: Sequence[Method], horizons: Sequence[int]) -> str:
    target = float(joke.accuracy[horizons[-1]].mean())
    reached = {one.name: _reaches(one, target, horizons) for one in others}
    by_horizon = {
        steps: [name for name, at in reached.items() if at == steps] for steps in horizons
    }
    said = [
        f"{wording.listing(names)} with {steps:,} steps ({horizons[-1] / steps:.0f} times fewer)"
        if steps < horizons[-1]
        else f"{wording.listing(names)} with as many"
        for steps, names in by_horizon.items()
        if names
    ]
    never = [name for name, at in reached.items() if at is None]
    text = (
        f"**Time to target.** Adam with 3e-4 has {100 * target:.1f} % after "
        f"{horizons[-1]:,} steps. Of the horizons tried, that is reached by {'; by '.join(said)}."
    )
    return text + (f" Not reached by {wording.listing(never)}." if never else "")


def _super_convergence(others: Sequence[Method], horizons: Sequence[int]) -> str:
    """1cycle at short horizons beside a constant lr at the longest, for each optimizer."""
    sentences = []
    for optimizer in sorted({one.optimizer for one in others}):
        mine = {one.schedule: one for one in others if one.optimizer == optimizer}
        if not {"onecycle", "constant"} <= mine.keys():
            sentences.append(f"{optimizer}: the sweep drew no trial of one of the two.")
            continue
        sentences.append(_compared(optimizer, mine["onecycle"], mine["constant"], horizons))
    return "**Super-convergence**, 1cycle beside a constant learning rate: " + " ".join(
        f"{sentence[0].upper()}{sentence[1:]}" for sentence in sentences
    )


def _compared(optimizer: str, cycle: Method, constant: Method, horizons: Sequence[int]) -> str:
    last = horizons[-1]
    final = constant.accuracy[last]
    target = float(final.mean()) - spread(final)
    own = _reaches(constant, target, horizons)
    assert own is not None  # at the latest at the end
    text = (
        f"with {optimizer} a constant lr ends at {100 * final.mean():.1f} %, and is within a "
        f"standard deviation of that with {own:,} steps; 1cycle "
    )
    at = _reaches(cycle, target, horizons)
    if at is None:
        return text + "is at no horizon, so it isn't shown."
    if at >= own:
        return text + f"is with {at:,}, no fewer, so it isn't shown."
    ahead = float(cycle.accuracy[at].mean() - constant.accuracy[at].mean())
    if ahead <= max(spread(cycle.accuracy[at]), spread(constant.accuracy[at])):
        return text + f"is with {at:,}, but there the two differ by no more than their seeds do."
    return text + f"is with {at:,}: {own / at:.0f} times fewer, so it is seen here."
