"""The lecture's Adagrad divides by a running mean: a burst on the flat axis, and its cures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reproductions import figures, page
from reproductions.landscapes.constant_lr import STEEPNESS, TARGET
from reproductions.landscapes.paths import first_below, heights
from reproductions.progress import Progress
from reproductions.scale import Scale
from reproductions.stability import wording
from sweeper.tasks.bundled import valley

TITLE = "Dividing by the mean of all squares: the burst on the flat axis, decay and warm-up"
FIGURE = "landscapes_burst.png"
LR, STEPS, WARMUP = 0.3, 600, 50
_CALM, _BURST = 1e-3, 1e-2

Shape = Callable[[int, int], float]
"""(step from 0, steps) -> share of lr."""

SHAPES: dict[str, Shape] = {
    "constant": lambda t, steps: 1.0,
    f"warm-up, {WARMUP} steps": lambda t, steps: min(1.0, (t + 1) / WARMUP),
    "decay to 0, linear": lambda t, steps: 1 - t / steps,
    "decay, 1 / sqrt(t + 1)": lambda t, steps: float((t + 1) ** -0.5),
}


@dataclass(frozen=True, slots=True)
class Course:
    """A run with one shape of lr.

    Args:
        path: `[T + 1, 2]`.
        sharpness: `[T]`, lr x curvature across / sigma of that axis, over its threshold 2.
        loss: `[T + 1]`.
    """

    name: str
    path: np.ndarray
    sharpness: np.ndarray
    loss: np.ndarray

    @property
    def calm(self) -> int | None:
        """The first step with hardly anything left across."""
        return first_below(np.abs(self.path[:, 1]), _CALM)

    @property
    def burst(self) -> int | None:
        """The first step across the valley again after that."""
        if self.calm is None:
            return None
        out = np.flatnonzero(np.abs(self.path[self.calm :, 1]) > _BURST)
        return int(self.calm + out[0]) if out.size else None

    @property
    def crossing(self) -> int | None:
        """The first step whose sharpness is above its threshold after calm."""
        over = np.flatnonzero(self.sharpness[self.calm :] > 1) if self.calm is not None else None
        return None if over is None or not over.size else int((self.calm or 0) + over[0])

    @property
    def farthest(self) -> float:
        """Largest |y| after calm."""
        return float(np.abs(self.path[self.calm :, 1]).max()) if self.calm is not None else np.nan


def descend(shape: Shape, lr: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Path `[T + 1, 2]` and sigma `[T, 2]` of theta -= lr g / sqrt(mean of all g^2).

    The mean is the sum of Adagrad over the number of steps, so this is torch's Adagrad with
    lr sqrt(t + 1).
    """
    start = torch.tensor(valley.START, dtype=torch.float64)
    place = torch.nn.Parameter(start)
    curvature = torch.tensor([1.0, STEEPNESS], dtype=torch.float64)
    optimizer = torch.optim.Adagrad([place], lr=lr)
    growing = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: shape(t, steps) * (t + 1) ** 0.5
    )
    path, sigma = [start.numpy().copy()], []
    for step in range(steps):
        place.grad = curvature * place.detach()
        optimizer.step()
        growing.step()
        path.append(place.detach().numpy().copy())
        sigma.append((optimizer.state[place]["sum"] / (step + 1)).sqrt().numpy())
    return np.array(path), np.array(sigma)


def measure(scale: Scale, progress: Progress) -> list[Course]:
    """Every shape of lr."""
    progress.say("running mean of squares")
    return [_course(name, scale.steps(STEPS)) for name in SHAPES]


def _course(name: str, steps: int) -> Course:
    path, sigma = descend(SHAPES[name], LR, steps)
    lr = LR * np.array([SHAPES[name](t, steps) for t in range(steps)])
    sharpness = lr * STEEPNESS / sigma[:, 1] / 2
    return Course(name, path, sharpness, heights(valley.build(STEEPNESS), path))


def draw(found: list[Course], folder: Path) -> None:
    """What is across the valley, and the sharpness that throws it there."""
    colours = (figures.ORANGE, figures.BLUE, figures.PURPLE, figures.GREEN)
    with figures.drawn(folder / FIGURE, 1, 2, (9.6, 3.6)) as (left, right):
        for colour, one in zip(colours, found, strict=True):
            across = np.maximum(np.abs(one.path[:, 1]), 1e-12)
            left.plot(across, color=colour, lw=1.2, label=one.name)
            right.plot(one.sharpness, color=colour, lw=1.2)
        left.set(title="|y|, across the valley", yscale="log", xlabel="step", ylim=(1e-12, 10))
        right.axhline(1, color="black", lw=1)
        right.set(title="lr x curvature / sigma over its threshold", yscale="log", xlabel="step")
        left.legend(fontsize=8.5, loc="lower right")


def section(found: list[Course]) -> str:
    """The section of the page."""
    head = ["lr", f"across < {_CALM:g} at", "sharpness above its threshold at", "burst at",
            "x there", "farthest across after that", f"steps to {TARGET:g}"]  # fmt: skip
    return f"""### {TITLE}

The lecture's Adagrad is theta -= lr g / sigma with sigma^2 = 1 / (t + 1) times the sum of all
squared gradients: a *mean*. That is a slip of name: Adagrad (Duchi et al. 2011) divides by the
root of the *sum*; a mean, as RMSProp has one, but over all steps. On `valley` at lr {LR:g}
(`across` is the size of y):

{page.table(head, [_line(one) for one in found])}

![what is across the valley, and the sharpness](figures/{FIGURE})

{_story(found)}"""


def _line(one: Course) -> list[str]:
    burst = one.burst
    return [
        one.name,
        wording.step(one.calm),
        wording.step(one.crossing),
        wording.step(burst),
        "-" if burst is None else f"{one.path[burst, 0]:.2f}",
        wording.loss(one.farthest),
        wording.step(first_below(one.loss, TARGET)),
    ]


def _story(found: list[Course]) -> str:
    constant, warm, *decays = found
    text = ""
    if constant.burst is not None:
        text += (
            f"At constant lr the burst comes at step {constant.burst:,}, while the run still "
            f"walks along the flat axis (x = {constant.path[constant.burst, 0]:.2f}). It is an "
            "edge of stability, not a matter of rounding: with nothing left across, sigma of that axis "
            f"falls as 1 / sqrt(t), until lr x {STEEPNESS:g} / sigma passes 2"
        )
        text += f", at step {constant.crossing:,}. " if constant.crossing is not None else ". "
        text += (
            "It is the mechanism of [Training that runs long](#training-that-runs-long) on "
            "another second moment. "
        )
    text += f"{_cured('Warm-up', warm)} "
    text += " ".join(_cured(one.name.capitalize(), one) for one in decays)
    return text + (
        " Decay as 1 / sqrt(t + 1) turns the mean into the sum: it *is* Adagrad. Its sharpness "
        f"stays at {decays[-1].sharpness[-1]:.2f} of the threshold, and after "
        f"{len(decays[-1].sharpness)} steps of this lr its loss is {decays[-1].loss[-1]:.2g}."
    )


def _cured(what: str, one: Course) -> str:
    if one.burst is None:
        return f"{what} has no burst within {len(one.sharpness)} steps."
    reached = first_below(one.loss, TARGET)
    early = reached is not None and reached < one.burst
    return f"{what} only postpones it, to step {one.burst:,}" + (
        f", when the target has been reached (step {reached:,})." if early else "."
    )
