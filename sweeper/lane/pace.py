"""How long a step takes, where a pack may make fewer steps than it is asked to, or none."""

from __future__ import annotations


class Pace:
    """Seconds per step, over the calls since the last one that made a step."""

    def __init__(self) -> None:
        self._idle_s = 0.0

    def add(self, steps: int, seconds: float) -> float | None:
        """Seconds per step now that a call made so many in this time; None while none is made."""
        self._idle_s += seconds
        if not steps:
            return None
        step_s, self._idle_s = self._idle_s / steps, 0.0
        return max(step_s, 1e-9)
