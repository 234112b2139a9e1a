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
from sweeper.stability.rolling import trailing_mean

TITLE = 'A network with four heads: "Adam goes haywire after 200k batches"'
HEADINGS = (f"## {TITLE}",)
FIGURE = "multitask.png"
_COLOURS = {1e-8: figures.ORANGE, 1e-4: figures.BLUE, 1e-3: figures.PURPLE, 1e-2: figures.GREY,
            1e-1: figures.GREEN}  # fmt: skip
_NEAR = 0.9
_NO_FAILURE = "There was no failure that another order of the images could repeat or avoid."


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
                label = f"eps {cell.eps:g}" + (", asked" if _is_asked(cell) else "")
                _curve(ax, cell.outcome.loss, 0, _COLOURS[cell.eps], label)
            ax.set_title(f"lr {lr:g}")
        _draw_restart(axes[-1], again)
        for ax in axes:
            ax.set(yscale="log", xlabel="step", ylim=(0.9 * lowest, 1.1 * highest))
            ax.xaxis.set_major_formatter(figures.EngFormatter(sep=""))
            ax.yaxis.set_minor_formatter(lambda value, _: f"{value:.1g}")
            ax.legend(fontsize=8.5)
        axes[0].set_ylabel("training loss, mean of an epoch")


def _draw_restart(ax: figures.Axes, again: Restart) -> None:
    _curve(ax, again.cell.outcome.loss, 0, figures.GREY, "went on")
    for outcome, colour in zip(
        again.outcomes, (figures.BLUE, figures.ORANGE, figures.GREEN), strict=False
    ):
        _curve(ax, outcome.loss, again.step, colour, f"restarted, order {outcome.order.seed}")
    ax.set_title(f"lr {again.cell.lr:g}, eps {again.cell.eps:g}")


def _curve(ax: figures.Axes, loss: np.ndarray, first: int, colour: str, label: str) -> None:
    """From the end of the first epoch on."""
    smooth, epoch = _smooth(loss), grid.epoch()
    shown = np.arange(epoch, smooth.size, max(1, smooth.size // 1500))
    ax.plot(first + shown, smooth[shown], color=colour, lw=1.2, label=label)


def _smooth(loss: np.ndarray) -> np.ndarray:
    """Trailing mean of an epoch, of fewer steps at the start."""
    return trailing_mean(loss, grid.epoch())


def section(cells: Sequence[Cell], again: Restart) -> str:
    """The text."""
    horizon = cells[0].outcome.order.horizon
    epochs = horizon / grid.epoch()
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
        _verdict(cell),
        *(f"{share:.3f}" for _, share in sorted(cell.sharpness.items())),
    ]


def _verdict(cell: Cell) -> str:
    if not cell.outcome.failed:
        return "holds"
    return "fails (slow)" if _is_slow(cell) else "**fails**"


def _is_asked(cell: Cell) -> bool:
    return (cell.lr, cell.eps) == grid.ASKED


def _name(cell: Cell) -> str:
    return f"lr {cell.lr:g}, eps {cell.eps:g}"


def _climb(cell: Cell) -> float:
    """How often its best loss a run has at the most, after it had it."""
    return float(10 ** cell.outcome.verdict["draw_up"])


def _seen(cells: Sequence[Cell]) -> str:
    late = [cell for cell in cells if cell.outcome.failed and not _is_slow(cell)]
    slow = [cell for cell in cells if cell.outcome.failed and _is_slow(cell)]
    horizon = cells[0].outcome.order.horizon
    if late:
        names = [f"{_name(one)} at step {one.outcome.verdict['onset_step']:,}" for one in late]
        text = (
            f"**Seen.** {len(late)} of {len(cells)} settings go wrong: {wording.listing(names)}."
        )
    else:
        text = (
            f"**Not reproduced.** None of the {len(cells)} settings goes haywire within "
            f"{horizon:,} steps."
        )
    if slow:
        text += (
            f" That {wording.listing([_name(one) for one in slow])} fail by the verdict says "
            "that they are slow: when its grace ends, at a twentieth of the horizon, their loss "
            "is still no lower than that of the first batch."
        )
    worst, asked = max(cells, key=_climb), next(cell for cell in cells if _is_asked(cell))
    return (
        f"{text} The asker's own setting climbs to {_climb(asked):.2f} times its best loss at the "
        f"most, the worst of the grid ({_name(worst)}) to {_climb(worst):.2f} times. "
        + _edge(cells)
    )


def _is_slow(cell: Cell) -> bool:
    """Whether what the verdict objects to is that the loss has not begun to fall."""
    loss, onset = cell.outcome.loss, cell.outcome.verdict["onset_step"]
    return bool(onset is not None and _smooth(loss)[onset] >= 0.95 * loss[0])


def _edge(cells: Sequence[Cell]) -> str:
    """What S says beside what the runs did."""
    most = {_name(cell): max(cell.sharpness.values()) for cell in cells}
    above = [cell for cell in cells if most[_name(cell)] >= _NEAR]
    if not above:
        name = max(most, key=most.__getitem__)
        return f"S stays below its threshold, at most {most[name]:.2f} of it ({name})."
    names = [f"{_name(one)} ({most[_name(one)]:.1f} times)" for one in above]
    text = f"S comes to its threshold with {wording.listing(names)}."
    held = [cell for cell in above if not cell.outcome.failed]
    if held:
        text += (
            f" {len(held)} of {len(above)} holds all the same, at up "
            f"to {max(map(_climb, held)):.2f} times the best loss: in mini-batches a sharpness "
            "above the threshold is no forecast of a failure."
        )
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
    return (
        f"**Stopped and restarted** (with Adam's moments, images in another order; "
        f"{_name(again.cell)}, which climbs highest, from step {again.step:,}): the highest mean "
        f"of an epoch is {_highest(whole):.3g} where it went on, and "
        f"{wording.listing([f'{climb:.3g}' for climb in climbs])} in "
        f"{wording.plural(len(climbs), 'restarted run')}. "
        + (_same(_highest(whole), climbs) if again.cell.outcome.failed else _NO_FAILURE)
    )


def _highest(loss: np.ndarray) -> float:
    return float(np.nanmax(_smooth(loss)[grid.epoch() :]))


def _same(whole: float, climbs: Sequence[float]) -> str:
    factor = max(max(one, whole) / min(one, whole) for one in climbs)
    if factor < 2:
        return (
            "As the asker saw, another order of the images changes little: it is not one bad "
            "batch, but where the run has come to."
        )
    return f"They differ by a factor of up to {factor:.1f}: here the order of the images matters."
