"""One learning rate for both axes: what suits the walls stalls along the valley."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reproductions import page, wording
from reproductions.landscapes.paths import cosines, first_below, follow, heights
from reproductions.progress import Progress
from reproductions.runs import Order
from reproductions.scale import Scale
from sweeper.optim.configuration import parse
from sweeper.stability.threshold import threshold
from sweeper.tasks.bundled import valley

TITLE = "One learning rate: it bounces between the walls or stalls along the valley"
STEEPNESS, TARGET, STEPS = 100.0, 1e-3, 4_000
LRS = (0.0005, 0.002, 0.005, 0.0199, 0.02, 0.0202)
_EARLY = 200


@dataclass(frozen=True, slots=True)
class Descent:
    """Gradient descent with one lr.

    Args:
        sharpness: lr x curvature across, as a share of its threshold.
        cosine: mean of successive updates over the first steps.
        steps: until the loss is below TARGET; None where it isn't.
        across: largest |y| over the second half of these first steps.
        ended: loss after the last step.
    """

    lr: float
    sharpness: float
    cosine: float
    steps: int | None
    across: float
    ended: float


def measure(scale: Scale, progress: Progress) -> list[Descent]:
    """Every lr."""
    progress.say("constant lr")
    task = valley.build(STEEPNESS)
    orders = [Order({"optimizer": "sgd", "lr": lr}, scale.steps(STEPS)) for lr in LRS]
    paths = follow(task, orders)
    return [_descent(*each) for each in zip(orders, paths, heights(task, paths), strict=True)]


def _descent(order: Order, path: np.ndarray, loss: np.ndarray) -> Descent:
    lr = float(order.config["lr"])
    edge = float(threshold(parse(order.config), order.horizon, np.array([1.0]))[0])
    early = path[: _EARLY + 2]
    return Descent(
        lr=lr,
        sharpness=lr * STEEPNESS / edge,
        cosine=float(cosines(early).mean()),
        steps=first_below(loss, TARGET),
        across=float(np.abs(early[_EARLY // 2 :, 1]).max()),
        ended=float(loss[-1]),
    )


def section(found: list[Descent]) -> str:
    """The section of the page."""
    head = ["lr", "lr x sharpness over its threshold", "update cosine",
            f"across after {_EARLY // 2} steps", f"steps to {TARGET:g}",
            "loss at the end"]  # fmt: skip
    rows = [
        [
            f"{one.lr:g}",
            f"{one.sharpness:.3f}",
            f"{one.cosine:+.2f}",
            wording.loss(one.across),
            wording.step(one.steps),
            wording.loss(one.ended),
        ]
        for one in found
    ]
    return f"""### {TITLE}

Task `valley`: x^2 / 2 + {STEEPNESS:g} y^2 / 2 from (-8, 0.5), no noise. Gradient descent is
stable while lr x sharpness is below 2; the sharpness is {STEEPNESS:g} everywhere. `update cosine`
is the mean between successive updates over the first {_EARLY} steps, `across` the largest size of
y in the second half of them.

{page.table(head, rows)}

{_story(found)}"""


def _story(found: list[Descent]) -> str:
    slow, edge = found[0], [one for one in found if abs(one.sharpness - 1) < 1e-9]
    bouncing = [f"{one.sharpness:.3f}" for one in found if one.cosine < -0.9]
    beyond = [one for one in found if one.sharpness > 1.001]
    quick = min(found, key=lambda one: np.inf if one.steps is None else one.steps)
    text = (
        f"The smallest lr walks (cosine {slow.cosine:+.2f}) and "
        + (
            f"needs {slow.steps:,} steps"
            if slow.steps
            else f"is at a loss of {slow.ended:.3g} when its steps are over"
        )
        + ". "
    )
    if quick.steps is not None:
        text += f"First at {TARGET:g} is lr {quick.lr:g}, in {quick.steps:,} steps. "
    if bouncing:
        text += (
            f"At {wording.listing(bouncing)} of the threshold the updates turn round at nearly "
            "every step, as the lecture draws it. "
        )
    text += "".join(
        f"At the threshold itself |y| doesn't shrink ({one.across:g}), and the loss ends at "
        f"{one.ended:.3g}, with a gradient that is not 0. "
        for one in edge
    )
    return text + "".join(
        f"At {one.sharpness:.2f} of it the run is thrown out of the valley." for one in beyond
    )
