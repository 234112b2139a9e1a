"""The section `multitask`: the table of settings, the figure, and what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reproductions import figures, page, wording
from reproductions.multitask import grid
from reproductions.multitask.grid import Cell, Restart
from reproductions.progress import Progress
from reproductions.scale import Scale
from sweeper.stability.limits import Limits

TITLE = 'A network with four heads: "Adam goes haywire after 200k batches"'
HEADINGS = (f"## {TITLE}",)
FIGURE = "multitask.png"
_COLOURS = {1e-8: figures.ORANGE, 1e-4: figures.BLUE, 1e-3: figures.PURPLE, 1e-2: figures.GREY,
            1e-1: figures.GREEN}  # fmt: skip
_NEAR = 0.9


def make(scale: Scale, progress: Progress, figures_folder: Path) -> str:
    """Measure and write."""
    cells = grid.measure(scale, progress)
    again = grid.restart(cells, scale, progress)
    draw(cells, again, figures_folder / FIGURE)
    return section(cells, again)


def draw(cells: Sequence[Cell], again: Restart, path: Path) -> None:
    """Loss by lr, a panel each, and the restarted run."""
    lrs = sorted({cell.lr for cell in cells}, reverse=True)
    with figures.drawn(path, 1, len(lrs) + 1, (13.2, 3.8)) as axes:
        highest = max(float(np.nanmax(_smooth(cell.outcome.loss))) for cell in cells)
        lowest = min(float(np.nanmin(_smooth(cell.outcome.loss))) for cell in cells)
        for ax, lr in zip(axes, lrs, strict=False):
            for cell in (one for one in cells if one.lr == lr):
                label, width = f"eps {cell.eps:g}", 2.2 if _is_asked(cell) else 1.2
                _curve(ax, cell.outcome.loss, 0, _COLOURS[cell.eps], label, width)
            ax.set_title(f"lr {lr:g}")
        last = axes[-1]
        _curve(last, again.cell.outcome.loss, 0, figures.GREY, "went on", 1.6)
        for outcome in again.outcomes:
            seed = outcome.order.seed
            _curve(last, outcome.loss, again.step, figures.BLUE, f"order {seed}", 0.9)
        last.set_title(f"lr {again.cell.lr:g}, eps {again.cell.eps:g}, restarted")
        for ax in axes:
            ax.set(yscale="log", xlabel="step", ylim=(0.8 * lowest, 1.2 * highest))
            ax.xaxis.set_major_formatter(figures.EngFormatter(sep=""))
            ax.legend(fontsize=8.5)
        axes[0].set_ylabel("training loss, mean of an epoch")


def _curve(
    ax: figures.Axes, loss: np.ndarray, first: int, colour: str, label: str, width: float
) -> None:
    smooth = _smooth(loss)
    at = np.arange(smooth.size)
    shown = slice(None, None, max(1, smooth.size // 1500))
    ax.plot(first + at[shown], smooth[shown], color=colour, lw=width, label=label)


def _smooth(loss: np.ndarray) -> np.ndarray:
    """Trailing mean of an epoch, of fewer steps at the start."""
    width = grid.task().epoch_steps
    total = np.cumsum(np.insert(loss, 0, 0.0))
    ends = np.arange(1, loss.size + 1)
    starts = np.maximum(ends - width, 0)
    mean: np.ndarray = (total[ends] - total[starts]) / (ends - starts)
    return mean


def section(cells: Sequence[Cell], again: Restart) -> str:
    """The text."""
    horizon = cells[0].outcome.order.horizon
    epochs = horizon / grid.task().epoch_steps
    looks = sorted(cells[0].sharpness)
    head = ["lr", "eps", f"loss at {min(1_000, horizon // 4):,}", "lowest", "at step", "tail loss",
            "decades climbed", "upward spikes", "verdict",
            *(f"S at {look:,}" for look in looks)]  # fmt: skip
    return f"""## {TITLE}

Stack Overflow 42327543 (2017): a network with a few convolutions, residual connections and four
heads (probability, orientation, magnitude, position) trains well for some 1e5 steps with Adam, lr
1e-4, eps 1e-4; then its loss grows. The answers: a larger eps (1e-3 to 0.1), or a tenth of lr. The
asker's data are not known. Here the task `multitask` draws images of {grid.SIZE} pixels with one
object, {grid.IMAGES:,} in all; {grid.CHANNELS} channels, batches of 200, eps in TensorFlow's
convention, {horizon:,} steps or {epochs:,.0f} epochs, one seed. Columns S: sharpness as a share of
Adam's threshold, measured on {grid.PROBED} images. In mini-batches no onset is forecast from it:
noise keeps refreshing the second moment.

{page.table(head, [_line(cell) for cell in cells])}

![training loss of every setting, and the restarted run](figures/{FIGURE})

{_seen(cells)}

{_advice(cells)}

{_restarted(again)}"""


def _line(cell: Cell) -> list[str]:
    loss, verdict = cell.outcome.loss, cell.outcome.verdict
    smooth = _smooth(loss)
    at = min(1_000, loss.size // 4)
    lowest = int(np.nanargmin(smooth))
    return [
        f"{cell.lr:g}",
        f"{cell.eps:g}" + (" (asked)" if _is_asked(cell) else ""),
        f"{smooth[at - 1]:.3g}",
        f"{smooth[lowest]:.3g}",
        f"{lowest:,}",
        "-" if verdict["tail_loss"] is None else f"{verdict['tail_loss']:.3g}",
        f"{verdict['draw_up']:.2f}",
        f"{verdict['upward_spike_score']:.2%}",
        "**fails**" if cell.outcome.failed else "holds",
        *(f"{share:.3f}" for _, share in sorted(cell.sharpness.items())),
    ]


def _is_asked(cell: Cell) -> bool:
    return (cell.lr, cell.eps) == grid.ASKED


def _name(cell: Cell) -> str:
    return f"lr {cell.lr:g}, eps {cell.eps:g}"


def _climb(cell: Cell) -> float:
    """How often its best loss a run has at the most, after it had it."""
    return float(10 ** cell.outcome.verdict["draw_up"])


def _seen(cells: Sequence[Cell]) -> str:
    failed = [cell for cell in cells if cell.outcome.failed]
    horizon = cells[0].outcome.order.horizon
    if failed:
        names = wording.listing(
            [f"{_name(one)} at step {one.outcome.verdict['onset_step']:,}" for one in failed]
        )
        text = f"**Seen.** {len(failed)} of {len(cells)} settings fail: {names}."
    else:
        text = (
            f"**Not reproduced.** None of the {len(cells)} settings fails within {horizon:,} "
            f"steps by the verdict ({Limits().climb:g} decades up, or a fifth of the progress "
            "given back)."
        )
    worst = max(cells, key=_climb)
    asked = next(cell for cell in cells if _is_asked(cell))
    text += (
        f" The asker's own setting climbs to {_climb(asked):.2f} times its best loss at the most, "
        f"the worst of the grid ({_name(worst)}) to {_climb(worst):.2f} times."
    )
    edge = [cell for cell in cells if max(cell.sharpness.values()) >= _NEAR]
    quiet = [cell for cell in cells if max(cell.sharpness.values()) < _NEAR]
    if edge:
        least = min(map(_climb, edge))
        text += f" S comes to its threshold with {wording.listing([_name(c) for c in edge])}"
        text += f", which climb to {least:.2f} times or more"
        text += f"; the others to {max(map(_climb, quiet)):.2f} or less." if quiet else "."
    else:
        highest = max(cells, key=lambda cell: max(cell.sharpness.values()))
        share = max(highest.sharpness.values())
        text += f" S stays below its threshold, at most {share:.2f} of it ({_name(highest)})."
    return text


def _advice(cells: Sequence[Cell]) -> str:
    """What the remedies cost or gain beside the asker's setting."""
    asked = next(cell for cell in cells if _is_asked(cell))
    larger = [c for c in cells if c.lr == asked.lr and c.eps > asked.eps]
    tenth = [c for c in cells if c.lr < asked.lr and c.eps == asked.eps]
    lines = [
        f"{_name(cell)}: tail loss {_ratio(cell, asked)} of the asker's, at most "
        f"{_climb(cell):.2f} times its best loss"
        for cell in (*larger, *tenth)
    ]
    best = min(cells, key=_tail)
    return (
        f"**The advice.** {'; '.join(lines)}. The lowest tail loss of the grid, "
        f"{_ratio(best, asked)} of the asker's, is that of {_name(best)}"
        + (", which fails." if best.outcome.failed else ".")
    )


def _tail(cell: Cell) -> float:
    tail = cell.outcome.verdict["tail_loss"]
    return float("inf") if tail is None else float(tail)


def _ratio(cell: Cell, asked: Cell) -> str:
    return "none (it failed)" if np.isinf(_tail(cell)) else f"{_tail(cell) / _tail(asked):.2f}"


def _restarted(again: Restart) -> str:
    whole = again.cell.outcome.loss[again.step :]
    climbs = [_highest(outcome.loss) for outcome in again.outcomes]
    failed = sum(outcome.failed for outcome in again.outcomes)
    return (
        f"**Stopped and restarted** (with Adam's moments, images in another order; "
        f"{_name(again.cell)}, which climbs highest, from step {again.step:,}): the highest mean "
        f"of an epoch is {_highest(whole):.3g} where it went on, and "
        f"{wording.listing([f'{climb:.3g}' for climb in climbs])} in "
        f"{wording.plural(len(climbs), 'restarted run')}, {failed} of which fail. "
        + _same(_highest(whole), climbs)
    )


def _highest(loss: np.ndarray) -> float:
    return float(np.nanmax(_smooth(loss)[grid.task().epoch_steps :]))


def _same(whole: float, climbs: Sequence[float]) -> str:
    factor = max(max(one, whole) / min(one, whole) for one in climbs)
    if factor < 2:
        return (
            "As the asker saw, another order of the images changes little: it is not one bad "
            "batch, but where the run has come to."
        )
    return f"They differ by a factor of up to {factor:.1f}: here the order of the images matters."
