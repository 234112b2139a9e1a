"""What the lecture notes write down wrongly, the right formula, and what the slip would do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from reproductions import page, wording
from reproductions.landscapes import running_mean
from reproductions.landscapes.constant_lr import STEEPNESS, TARGET
from reproductions.landscapes.paths import first_below, follow, heights
from reproductions.progress import Progress
from reproductions.runs import Order
from reproductions.scale import Scale
from sweeper.tasks.bundled import valley

TITLE = "Slips of the lecture notes"
STEPS, LR, BETA, ALPHA = 1_000, 0.1, 0.9, 0.999
_AT = 10


@dataclass(frozen=True, slots=True)
class Slips:
    """What the slips do.

    Args:
        factor: `[T]`, lr of the notes' Adam over that of Adam.
        steps: of Adam and of the notes' Adam to TARGET.
        apart: largest distance between the notes' momentum and SGD with lr x (1 - beta).
        shares: lr / sigma along and across the valley after a few steps.
    """

    factor: np.ndarray
    steps: tuple[int | None, int | None]
    apart: float
    shares: tuple[float, float]


def measure(scale: Scale, progress: Progress) -> Slips:
    """All of them on `valley`."""
    progress.say("slips")
    steps, task = scale.steps(STEPS), valley.build(STEEPNESS)
    factor = correction_slip(np.arange(1, steps + 1))
    right = follow(task, [Order({"optimizer": "adam", "lr": LR, "beta2": ALPHA}, steps)])[0]
    losses = [heights(task, path) for path in (right, _adam_of_the_notes(factor))]
    _, sigma = running_mean.descend(running_mean.SHAPES["constant"], LR, _AT)
    along, across = (LR / sigma[-1]).tolist()
    reached = (first_below(losses[0], TARGET), first_below(losses[1], TARGET))
    return Slips(factor, reached, _momentum_apart(steps), (along, across))


def correction_slip(t: np.ndarray) -> np.ndarray:
    """(m / (1 - beta)) / sqrt(sigma^2 / (1 - alpha)) over the same with beta^t and alpha^t."""
    found: np.ndarray = (1 - BETA**t) / (1 - BETA) * np.sqrt((1 - ALPHA) / (1 - ALPHA**t))
    return found


def _adam_of_the_notes(factor: np.ndarray) -> np.ndarray:
    """Path: torch's Adam, its lr times the slip (eps aside, which is 1e-8)."""
    place = torch.nn.Parameter(torch.tensor(valley.START, dtype=torch.float64))
    curvature = torch.tensor([1.0, STEEPNESS], dtype=torch.float64)
    optimizer = torch.optim.Adam([place], lr=LR, betas=(BETA, ALPHA))
    path = [place.detach().numpy().copy()]
    for share in factor:
        optimizer.param_groups[0]["lr"] = LR * float(share)
        place.grad = curvature * place.detach()
        optimizer.step()
        path.append(place.detach().numpy().copy())
    return np.array(path)


def _momentum_apart(steps: int) -> float:
    """m = beta m + (1 - beta) g, theta -= lr m, beside SGD with momentum and lr (1 - beta)."""
    lr, place, m = 0.05, np.array(valley.START), np.zeros(2)
    notes = [place]
    for _ in range(steps):
        m = BETA * m + (1 - BETA) * np.array([1.0, STEEPNESS]) * place
        place = place - lr * m
        notes.append(place)
    config = {"optimizer": "sgd", "lr": lr * (1 - BETA), "momentum": BETA}
    ours = follow(valley.build(STEEPNESS), [Order(config, steps)])[0]
    return float(np.abs(np.array(notes) - ours).max())


def section(found: Slips) -> str:
    """The section of the page."""
    head = ["the notes say", "right is", "what the slip does"]
    most = int(found.factor.argmax())
    along, across = found.shares
    rows = [
        [
            "mhat = m / (1 - beta), sigmahat = sqrt(sigma^2 / (1 - alpha))",
            "mhat = m / (1 - beta^t), sigmahat = sqrt(sigma^2 / (1 - alpha^t)) (Kingma & Ba 2014)",
            f"no bias correction but a factor on lr: 1 at the first step, up to "
            f"{found.factor[most]:.2f} (step {most + 1}), then "
            f"{np.sqrt(1 - ALPHA) / (1 - BETA):.2f}",
        ],
        [
            "momentum: m^t = beta m^(t-1) + (1 - beta) g, theta -= lr m",
            "the same as an average; the momentum of Polyak and of torch has no 1 - beta",
            f"not wrong, another lr: SGD with momentum and lr (1 - beta) takes the same path "
            f"(largest distance {wording.loss(found.apart)}). Copied to torch, lr is "
            f"{1 / (1 - BETA):.0f} times too large",
        ],
        [
            '"Adagrad": sigma^2 = mean of all squares',
            "Adagrad: sum of all squares (Duchi et al. 2011)",
            "Adagrad whose lr grows as sqrt(t + 1), t from 0 on: the burst above",
        ],
        [
            '"steep: high learning rate, flat: low"',
            "the reverse: lr / sigma is small where gradients are large",
            f"after {_AT} steps lr / sigma is {wording.loss(across)} across (steep) and "
            f"{wording.loss(along)} along (flat)",
        ],
        [
            '"a large batch takes more time to compute and fewer updates", then "a large batch '
            'takes less time and more updates"',
            "the second line means the small batch",
            "measured in [Large and small batches](#large-and-small-batches)",
        ],
    ]
    took, slipped = (
        "not within the run" if one is None else f"in {one} steps" for one in found.steps
    )
    return f"""### {TITLE}

{page.table(head, rows)}

On `valley` at lr {LR:g} Adam is first below {TARGET:g} {took}, Adam as the notes write it
{slipped}: the two differ by the factor on lr alone."""
