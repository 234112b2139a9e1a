"""The lecture's Adagrad divides by a running mean: a burst on the flat axis, and its cures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reproductions import figures, page, wording
from reproductions.landscapes.constant_lr import STEEPNESS, TARGET
from reproductions.landscapes.paths import first_below, heights
from reproductions.progress import Progress
from reproductions.scale import Scale
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
    def bursts(self) -> tuple[int, int] | None:
        """The first and the last step across the valley again after that."""
        return self._after_calm(np.abs(self.path[:, 1]) > _BURST)

    @property
    def crossing(self) -> int | None:
        """The first step whose sharpness is above its threshold after calm."""
        over = self._after_calm(self.sharpness > 1)
        return None if over is None else over[0]

    @property
    def farthest(self) -> float | None:
        """Largest |y| after calm."""
        return None if self.calm is None else float(np.abs(self.path[self.calm :, 1]).max())

    def _after_calm(self, holds: np.ndarray) -> tuple[int, int] | None:
        """The first and the last step after calm at which it holds."""
        if self.calm is None:
            return None
        steps = self.calm + np.flatnonzero(holds[self.calm :])
        return (int(steps[0]), int(steps[-1])) if steps.size else None


def descend(shape: Shape, lr: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Path `[T + 1, 2]` and sigma `[T, 2]` of theta -= lr g / sqrt(mean of all g^2).

    The mean is the sum of Adagrad over the number of steps, so this is torch's Adagrad with
    lr sqrt(t + 1), t from 0 on.
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
            left.plot(across, color=colour, lw=1.2)
            right.plot(one.sharpness, color=colour, lw=1.2, label=one.name)
        left.set(title="|y|, across the valley", yscale="log", xlabel="step", ylim=(1e-12, 10))
        right.axhline(1, color="black", lw=1)
        right.set(title="lr x curvature / sigma over its threshold", yscale="log", xlabel="step")
        right.legend(fontsize=8.5, loc="lower center")


def section(found: list[Course]) -> str:
    """The section of the page."""
    head = ["lr", f"across < {_CALM:g} at", "sharpness above its threshold at", "burst at",
            "x there", f"last across > {_BURST:g}", f"farthest across after < {_CALM:g}",
            f"steps to {TARGET:g}"]  # fmt: skip
    return f"""### {TITLE}

Adagrad as it was published (Duchi et al. 2011) is theta -= lr g / sqrt(*sum* of all squared
gradients). What the lecture calls Adagrad divides by sigma, the root of their *mean*: 1 / (t + 1)
times the sum, t from 0 on. That is another rule under the same name. They differ by lr alone: the
mean with lr / sqrt(t + 1) is Adagrad with lr. (RMSProp has a mean, too, but one that forgets.) The
mean on `valley` at lr {LR:g}, {len(found[0].sharpness)} steps, with the cures that the lecture
names (`across` is the size of y):

{page.table(head, [_line(one) for one in found])}

![what is across the valley, and the sharpness](figures/{FIGURE})

{_story(found)}"""


def _line(one: Course) -> list[str]:
    first, last = one.bursts or (None, None)
    return [
        one.name,
        wording.step(one.calm),
        wording.step(one.crossing),
        wording.step(first),
        "-" if first is None else f"{one.path[first, 0]:.2g}",
        wording.step(last),
        wording.loss(one.farthest),
        wording.step(first_below(one.loss, TARGET)),
    ]


def _story(found: list[Course]) -> str:
    constant, *cures = found
    text = ""
    if constant.bursts is not None:
        first = constant.bursts[0]
        text += (
            f"At constant lr the burst comes at step {first:,}, at x = "
            f"{constant.path[first, 0]:.2g}. It is an edge of stability, not a matter of "
            "rounding: with nothing left across, sigma of that axis falls as 1 / sqrt(t), until "
            f"lr x {STEEPNESS:g} / sigma passes 2"
        )
        text += f", at step {constant.crossing:,}. " if constant.crossing is not None else ". "
        text += (
            "It is the mechanism of [Training that runs long](#training-that-runs-long) on "
            "another second moment. "
        )
    root = cures[-1]
    return (
        f"{text}{' '.join(_cured(one) for one in cures)} Decay as 1 / sqrt(t + 1) turns the mean "
        f"into the sum: that run *is* Adagrad at lr {LR:g}. Its sharpness is at most "
        f"{root.sharpness.max():.2f} of the threshold, and ends at {root.sharpness[-1]:.2f}; its "
        f"loss ends at {root.loss[-1]:.2g}."
    )


def _cured(one: Course) -> str:
    """What a shape of lr does to the bursts."""
    what, end = one.name[0].upper() + one.name[1:], len(one.sharpness)
    if one.bursts is None:
        return f"{what}: no burst within {end:,} steps."
    first, last = one.bursts
    reached = first_below(one.loss, TARGET)
    early = reached is not None and reached < first
    return (
        f"{what}: first burst at step {first:,}"
        + (f", after the target (step {reached:,})" if early else "")
        + f"; last across at step {last:,} of {end:,}, so the bursts "
        + ("end." if last < 0.9 * end else "go on.")
    )
