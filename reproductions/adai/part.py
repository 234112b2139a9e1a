"""The section `adai`: claims on adaptive inertia, on a grid of lr and weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reproductions import figures, page, wording
from reproductions.adai import best, grid
from reproductions.adai.claims import claims
from reproductions.progress import Progress
from reproductions.scale import Scale
from sweeper.tasks.bundled import digits_cnn
from sweeper.tasks.task import Task

TITLE = "Adaptive inertia on a grid of learning rate and weight decay"
FIGURE = "adai.png"
HEADINGS = (f"## {TITLE}",)
_NAMES = {
    "sgd": "SGD, momentum 0.9",
    "adam": "Adam",
    "adai": "Adai",
    "adaiw": "AdaiW",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """All that the section tells of, rule by rule."""

    grids: list[grid.Grid]
    best: list[best.Best]


def measure(
    scale: Scale,
    progress: Progress,
    task: Task | None = None,
    rules: Sequence[grid.Rule] = grid.RULES,
) -> Measured:
    """All runs; of `digits_cnn` where no task is given."""
    task = task or digits_cnn.build()
    grids = grid.measure(task, scale, progress, rules)
    return Measured(grids, best.measure(task, grids, scale, progress))


def make(scale: Scale, progress: Progress, folder: Path) -> str:
    """Measure and write."""
    found = measure(scale, progress)
    draw(found.grids, folder)
    return section(found, scale)


def draw(grids: Sequence[grid.Grid], folder: Path) -> None:
    """Held-out accuracy of every cell in per cent; good cells are framed."""
    means = [100 * one.accuracy.mean(0) for one in grids]
    high = max(float(mean.max()) for mean in means)
    with figures.drawn(folder / FIGURE, 2, 2, (11, 6.2)) as axes:
        for ax, one, mean in zip(axes, grids, means, strict=True):
            _map(ax, one, mean, high)


def _map(ax: figures.Axes, one: grid.Grid, mean: np.ndarray, high: float) -> None:
    low = high - 10  # below, all cells look alike: bad
    image = ax.imshow(mean.T, cmap="cividis", aspect="auto", origin="lower", vmin=low, vmax=high)
    for (row, column), value in np.ndenumerate(mean):
        is_best, dark = (row, column) == one.best, value < high - 5
        ax.text(
            row, column, f"{value:.1f}", ha="center", va="center", fontsize=8,
            color="white" if dark else "black", weight="bold" if is_best else "normal",
        )  # fmt: skip
        if one.basin[row, column]:
            edge = "#e69f00" if is_best else "white"
            box = (row - 0.46, column - 0.46)
            ax.add_patch(figures.Rectangle(box, 0.92, 0.92, fill=False, ec=edge, lw=2.5))
    ax.set(title=_NAMES[one.rule.name], xlabel="lr", ylabel="weight decay")
    ax.set_xticks(range(len(one.rule.lrs)), [f"{lr:g}" for lr in one.rule.lrs])
    ax.set_yticks(range(len(one.rule.decays)), [f"{decay:g}" for decay in one.rule.decays])
    ax.tick_params(labelsize=8)
    ax.grid(visible=False)
    ax.figure.colorbar(image, ax=ax, label="per cent", pad=0.02, extend="min")


def section(found: Measured, scale: Scale) -> str:
    """The section of the page."""
    grids, seeds = found.grids, scale.count(grid.SEEDS)
    fresh = len(found.best[0].accuracy)
    return f"""## {TITLE}

Xie et al. 2022 ("Adaptive Inertia: Disentangling the Effects of Adaptive Learning Rate and
Momentum") adapt the momentum of every coordinate and leave the learning rate alone (Adai; AdaiW
with decoupled decay). On image classifiers that is said to generalise better than SGD with
momentum and Adam, to end in minima as flat as those of SGD, and to be good in a wider region of
lr and weight decay (their figure 5). That AdaiW is ahead of Adai, and that the lr is ten times
that of SGD with momentum, is from the README of the authors' code. How these rules leave a saddle
isn't looked at here.

Task `digits_cnn` (two convolutions), {len(grids[0].rule.lrs)} lr in thirds of a decade, the range
of each rule settled by a first look, {len(grids[0].rule.decays)} weight decays, constant lr, no
warm-up, mini-batches of 64, {scale.steps(grid.HORIZON):,} steps,
{wording.plural(seeds, "seed")} a cell. Decay is coupled (L2) for all but AdaiW, other
hyperparameters are the [defaults](optimizers.md). A cell is good within {100 * grid.WITHIN:g} % of
all held-out images of the rule's best one.

![held-out accuracy by lr and weight decay for four rules](figures/{FIGURE})

Held-out accuracy in per cent, mean over seeds. Good cells are framed, the best one in orange; all
below the colours' lower end have the same one.

{_table(found)}

The best cell by the grid is trained anew on {wording.plural(fresh, "fresh seed")}. It was chosen
on the same held-out images, so that all four numbers may be a little too high. `curvature` is the
top eigenvalue of the Hessian of the loss, without decay, on all training images; a run has
failed by sweeper's [verdict](stability.md).{_edges(grids)} {_lucky(found)}

{_claims(found)}

{_rules()}"""


def _table(found: Measured) -> str:
    head = ["", "good cells", "decades of lr", "best lr, decay", "held-out accuracy, fresh seeds",
            "failed", "training loss", "curvature"]  # fmt: skip
    return page.table(head, [_row(*pair) for pair in zip(found.grids, found.best, strict=True)])


def _row(one: grid.Grid, at: best.Best) -> list[str]:
    lr, decay = one.setting
    return [
        _NAMES[one.rule.name],
        f"{int(one.basin.sum())} of {one.basin.size}",
        f"{grid.decades(one.basin):.1f}",
        f"{lr:g}, {decay:g}",
        _spread(at.accuracy, ".4f"),
        f"{int(at.failed.sum())} of {at.failed.size}",
        wording.loss(float(at.loss.mean())),
        _spread(at.curvature, ".3g"),
    ]


def _spread(values: np.ndarray, form: str) -> str:
    """Mean and standard deviation."""
    if values.size < 2:
        return format(values.mean(), form)
    return f"{values.mean():{form}} +- {values.std(ddof=1):{form}}"


def _edges(grids: Sequence[grid.Grid]) -> str:
    cut = [_NAMES[one.rule.name] for one in grids if one.touches_edge]
    return (
        f" The good cells of {wording.listing(cut)} reach the edge of the grid, in lr or decay: "
        "there may be more."
        if cut
        else ""
    )


def _lucky(found: Measured) -> str:
    """Best cells that don't hold on fresh seeds."""
    broken = [
        f"{_NAMES[one.rule.name]} ({int(at.failed.sum())} of {at.failed.size})"
        for one, at in zip(found.grids, found.best, strict=True)
        if at.failed.any()
    ]
    if not broken:
        return "All best cells hold on the fresh seeds."
    return (
        f"What is best on the grid fails on fresh seeds with {wording.listing(broken)}: the "
        "highest accuracy of a few seeds may lie at the edge of what is stable. Means, spreads "
        "and the claims below count these runs like all others."
    )


def _claims(found: Measured) -> str:
    names = [one.rule.name for one in found.grids]
    rows = claims(
        dict(zip(names, found.grids, strict=True)), dict(zip(names, found.best, strict=True))
    )
    head = ["claim", "here", ""]
    return page.table(head, [[one.text, one.numbers, f"**{one.verdict}**"] for one in rows])


def _rules() -> str:
    return """A difference of means counts beyond three standard errors of the fresh seeds.
Curvatures are compared by their logarithms, and as flat is no more than a fifth sharper. More good
cells counts where every seed alone says so against every seed of the other rule, ten times the lr
where every seed has it within a step of the grid. The curvature of a cross-entropy falls with the
loss itself: it compares how flat two minima are only as far as their losses are alike. The paper
trains far larger networks, for longer."""
