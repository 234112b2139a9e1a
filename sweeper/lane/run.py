"""A run: one configuration on one seed, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be trained.

    Args:
        id: its number in the sweep.
        trial: number of its trial.
        config: complete configuration, see sweeper.optim.configuration.
        seed: of initial parameters and batches.
        horizon: steps.
    """

    id: int
    trial: int
    config: Mapping[str, Any]
    seed: int
    horizon: int
