"""Learning-rate schedules, per row and closed-form in the step: a resumed row needs no replay.

`K` rows. A schedule is a factor on lr. Past its end (step >= horizon) it keeps its last value.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sweeper.optim.catalog import SCHEDULES
from sweeper.optim.configuration import Configuration

COLUMNS = ("schedule", "warmup", "final")
_KINDS = tuple(SCHEDULES)


def row_values(configuration: Configuration, horizon: int) -> list[float]:
    """The schedule of one row, in the order of COLUMNS."""
    schedule = configuration.schedule
    return [
        float(_KINDS.index(schedule.kind)),
        float(schedule.warmup_steps(horizon)),
        schedule.final,
    ]


def factor(step: Tensor, horizon: Tensor, columns: dict[str, Tensor]) -> Tensor:
    """Share of lr to use at `step`.

    Args:
        step: `[K]` float64, steps already taken (0 at the first update).
        horizon: `[K]` float64, steps of the run.
        columns: `[K]` float64 each, named as in COLUMNS; warmup in steps.

    Returns:
        `[K]` float64. Warm-up: (step + 1) / warmup while step < warmup, which is torch's
        LinearLR(start_factor=1/warmup, total_iters=warmup-1). Then, with u = step - warmup:
        constant 1; cosine final + (1 - final)(1 + cos(pi u / (horizon - warmup))) / 2, which is
        torch's CosineAnnealingLR(T_max=horizon-warmup) (Loshchilov & Hutter 2016, eq. 5).
    """
    warmup, final = columns["warmup"], columns["final"]
    rising = (step + 1) / warmup.clamp(min=1)
    share = ((step - warmup) / (horizon - warmup).clamp(min=1)).clamp(0, 1)
    cosine = final + (1 - final) * (1 + torch.cos(math.pi * share)) / 2
    is_cosine = columns["schedule"] == _KINDS.index("cosine")
    return torch.where(step < warmup, rising, torch.where(is_cosine, cosine, 1.0))
