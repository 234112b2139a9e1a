"""The own loop: a task that trains itself, one run at a time, and reports its losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import SweepError, shown

# What a verdict averages over at least where there are mini-batches.
_MINI_BATCHES = 50


@dataclass(frozen=True, kw_only=True)
class OwnLoop:
    """A training loop of the user's own.

    Args:
        train: trains one run; called as `train(trial)` in a process of its own, see sweeper.Trial.
            It may return metrics of the trained model by name.
        epoch_steps: steps of an epoch, over which the loss is averaged before it is judged (at
            least 50, at most a twentieth of the horizon); 1 for the full batch, which is judged
            step by step.
        floor: smallest loss that is not rounding, from (eps of the dtype, first loss); default
            eps * L[0].
    """

    train: Callable[[Any], object]
    epoch_steps: int = _MINI_BATCHES
    floor: Callable[[float, float], float] = field(default=lambda eps, first: eps * first)

    def __post_init__(self) -> None:
        steps = self.epoch_steps
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise SweepError(f"{shown(steps)}", where="epoch_steps", allowed="an int >= 1")
