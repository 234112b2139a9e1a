"""The limits by which a run is judged: the `stability` section of a spec."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run fails, and which part of it counts as its tail.

    Args:
        climb: decades that the loss may climb above the best seen, > 0.
        give_back: share of the progress that the loss may give back, > 0.
        tail: share of the horizon that is the tail, in (0, 1].
        cvar: share of the runs of a trial, the worst ones, that make its robust_loss, in (0, 1].
    """

    climb: float = 3.0
    give_back: float = 0.2
    tail: float = 0.2
    cvar: float = 0.4
