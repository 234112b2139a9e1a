"""The paths of the optimizers on the valley and on the saddle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reproductions import figures, page, wording
from reproductions.landscapes import running_mean
from reproductions.landscapes.constant_lr import STEEPNESS, TARGET
from reproductions.landscapes.paths import first_below, follow, heights
from reproductions.progress import Progress
from reproductions.runs import Order
from reproductions.scale import Scale
from sweeper.tasks.bundled import saddle, valley
from sweeper.tasks.task import Task

TITLE = "The optimizers on one picture"
FIGURE = "landscapes_paths.png"
STEPS, SADDLE_STEPS = 2_000, 300
_CALM, _EDGE, _WRONG_STEPS = 1e-3, 0.0199, 100
# Not 0.01 and 0.5, which happen to lead from the start to the bottom in one step.
LRS = (0.0015, 0.004, 0.012, 0.04, 0.12, 0.4, 1.2)

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"optimizer": "sgd"},
    "SGD, momentum 0.9": {"optimizer": "sgd", "momentum": 0.9},
    "Adagrad": {"optimizer": "adagrad"},
    "RMSProp": {"optimizer": "rmsprop"},
    "Adam": {"optimizer": "adam"},
}
MEAN = "Adagrad with the mean"
_SADDLE = {
    "SGD": {"optimizer": "sgd", "lr": 0.1},
    "SGD, momentum 0.9": {"optimizer": "sgd", "lr": 0.01, "momentum": 0.9},
    "RMSProp": {"optimizer": "rmsprop", "lr": 0.01},
    "Adam": {"optimizer": "adam", "lr": 0.03},
    "Adai": {"optimizer": "adai", "lr": 0.1},
}
# What the first two questions are about.
_BOUNCING, _BURSTING = "SGD just below its threshold", "Adagrad with the mean, lr too large"
_COLOURS = {
    "SGD": figures.GREY,
    "SGD, momentum 0.9": figures.BLUE,
    "Adagrad": figures.PURPLE,
    "Adai": figures.PURPLE,
    "RMSProp": "black",
    "Adam": figures.GREEN,
    MEAN: figures.ORANGE,
    _BOUNCING: figures.GREY,
    _BURSTING: figures.ORANGE,
}


@dataclass(frozen=True, slots=True)
class Walk:
    """The path of one optimizer with one lr.

    Args:
        path: `[T + 1, 2]`.
        loss: `[T + 1]`.
    """

    name: str
    lr: float
    path: np.ndarray
    loss: np.ndarray

    @property
    def steps(self) -> int | None:
        """Until the loss is below TARGET for good."""
        above = np.flatnonzero(~(self.loss < TARGET))
        last = int(above[-1]) + 1
        return last if last < self.loss.size else None

    @property
    def first(self) -> int | None:
        """Until it is below TARGET."""
        return first_below(self.loss, TARGET)

    @property
    def across(self) -> float:
        """Largest |y| after the start."""
        return float(np.nanmax(np.abs(self.path[1:, 1])))

    @property
    def again(self) -> float | None:
        """Largest |y| after it was below _CALM; None where it never was."""
        calm = first_below(np.abs(self.path[:, 1]), _CALM)
        return None if calm is None else float(np.nanmax(np.abs(self.path[calm:, 1])))


@dataclass(frozen=True, slots=True)
class Walks:
    """All paths: on the valley, on it with an lr that is too large, on the saddle with noise."""

    valley: list[Walk]
    wrong: list[Walk]
    saddle: list[Walk]


def measure(scale: Scale, progress: Progress) -> Walks:
    """The best lr of a grid for everyone on the valley; given ones on the saddle."""
    progress.say("paths")
    steps = scale.steps(SADDLE_STEPS)
    given = [(name, Order(config, steps)) for name, config in _SADDLE.items()]
    return Walks(_on_valley(scale.steps(STEPS)), _wrong(), _walks(saddle.build(), given))


def _on_valley(steps: int) -> list[Walk]:
    """Everyone's best."""
    task = valley.build(STEEPNESS)
    orders = [
        (name, Order({**config, "lr": lr}, steps))
        for name, config in OPTIMIZERS.items()
        for lr in LRS
    ]
    walks = _walks(task, orders) + [_with_the_mean(lr, steps, MEAN) for lr in LRS]
    return [_best([one for one in walks if one.name == name]) for name in (*OPTIMIZERS, MEAN)]


def _wrong() -> list[Walk]:
    order = Order({"optimizer": "sgd", "lr": _EDGE}, _WRONG_STEPS)
    bouncing = _walks(valley.build(STEEPNESS), [(_BOUNCING, order)])
    return [*bouncing, _with_the_mean(running_mean.LR, _WRONG_STEPS, _BURSTING)]


def _with_the_mean(lr: float, steps: int, name: str) -> Walk:
    path, _ = running_mean.descend(running_mean.SHAPES["constant"], lr, steps)
    return Walk(name, lr, path, heights(valley.build(STEEPNESS), path))


def _walks(task: Task, orders: list[tuple[str, Order]]) -> list[Walk]:
    paths = follow(task, [order for _, order in orders])
    return [
        Walk(name, float(order.config["lr"]), path, heights(task, path))
        for (name, order), path in zip(orders, paths, strict=True)
    ]


def _best(walks: list[Walk]) -> Walk:
    """First below the target for good; where nobody is, lowest at the end."""

    def place(one: Walk) -> tuple[float, float]:
        ended = float(one.loss[-1])
        steps = np.inf if one.steps is None else one.steps
        return steps, ended if np.isfinite(ended) else np.inf

    return min(walks, key=place)


def draw(found: Walks, folder: Path) -> None:
    """Paths on contours."""
    with figures.drawn(folder / FIGURE, 3, 1, (10.5, 9.6)) as (top, middle, bottom):
        for ax, walks in ((top, found.valley), (middle, found.wrong)):
            _contours(ax, valley.build(STEEPNESS), (-8.6, 1.6), (-0.75, 0.75), 0.0)
            _paths(ax, walks)
            ax.plot(0, 0, "*", color="black", ms=11)
        _contours(bottom, saddle.build(), (-1.15, 0.5), (-1.3, 1.3), -0.25)
        _paths(bottom, found.saddle)
        bottom.plot([0, 0], [1, -1], "*", color="black", ms=11)
        bottom.plot(0, 0, "x", color="black", ms=8)
        top.set_title("valley: each with its best lr")
        middle.set_title(f"valley: an lr that is too large, {_WRONG_STEPS} steps")
        bottom.set_title("saddle, noise 0.1")


def _paths(ax: figures.Axes, walks: list[Walk]) -> None:
    for one in walks:
        label = f"{one.name}\nlr {one.lr:g}"
        ax.plot(*one.path.T, color=_COLOURS[one.name], lw=1.3, marker=".", ms=3, label=label)
    ax.legend(fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    ax.set(xlabel="x", ylabel="y")
    ax.grid(False)


def _contours(
    ax: figures.Axes, task: Task, xs: tuple[float, float], ys: tuple[float, float], lowest: float
) -> None:
    x, y = np.meshgrid(np.linspace(*xs, 300), np.linspace(*ys, 300))
    height = heights(task, np.stack([x, y], axis=-1))
    levels = lowest + (height.max() - lowest) * np.linspace(0.01, 1, 14) ** 2
    ax.contour(x, y, height, levels=levels, colors="#c9c9c9", linestyles="-", linewidths=0.8)
    ax.set(xlim=xs, ylim=ys)


def section(found: Walks) -> str:
    """The section of the page."""
    head = ["", "lr", f"below {TARGET:g} at", "for good at", "farthest across",
            f"after < {_CALM:g}",
            "loss at the end"]  # fmt: skip
    rows = [
        [
            one.name,
            f"{one.lr:g}",
            wording.step(one.first),
            wording.step(one.steps),
            f"{one.across:.2f}",
            wording.loss(one.again),
            wording.loss(float(one.loss[-1])),
        ]
        for one in found.valley
    ]
    return f"""### {TITLE}

`valley`, {len(found.valley[0].path) - 1:,} steps, everyone with the lr of
{", ".join(f"{lr:g}" for lr in LRS)} that comes below {TARGET:g} for good first (where none does,
with the lowest loss at the end). `farthest across` is the largest size of y after the start, and
the next column that after y has once been below {_CALM:g}: who goes across the valley again?

{page.table(head, rows)}

![paths on the valley and on the saddle](figures/{FIGURE})

The star is a minimum, the cross a saddle. The lr on the saddle are given, not chosen.

{_story(found.valley)}"""


def _story(walks: list[Walk]) -> str:
    text = ""
    arrived = [(one.steps, one.name) for one in walks if one.steps is not None]
    if arrived:
        steps, name = min(arrived)
        text += f"{name} is the first below the target for good, in {steps:,} steps. "
    again = [one.name for one in walks if one.again is not None and one.again > 10 * _CALM]
    if again:
        text += f"Across again, beyond {10 * _CALM:g}: {wording.listing(again)}. "
    restless = [
        one.name for one in walks if np.nanmax(one.loss[-(one.loss.size // 10) :]) > TARGET
    ]
    if restless:
        text += (
            f"Above {TARGET:g} again in the last tenth of the steps: {wording.listing(restless)}. "
        )
    return text + (
        "In the animation of the accepted answer RMSProp comes to the goal and shakes there: "
        f"{'reproduced' if 'RMSProp' in restless else '**not** reproduced'}. Its lr is constant, "
        "and its divisor forgets."
    )
