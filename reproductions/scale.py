"""How large a reproduction is: 1 for the published one, less for a quick check."""

from __future__ import annotations

from dataclasses import dataclass

from reproductions.runs import UNIT


@dataclass(frozen=True, slots=True)
class Scale:
    """Shrinks numbers of data sets, seeds and trials, and horizons by the same factor.

    Args:
        factor: 1 for the published numbers.
        compiled: whether runs are compiled, which takes seconds and pays for long ones.
    """

    factor: float = 1.0
    compiled: bool = True

    def count(self, full: int) -> int:
        """Of data sets, seeds or trials; at least one."""
        return max(1, round(full * self.factor))

    def steps(self, full: int) -> int:
        """Of a horizon, in whole units."""
        return max(10, round(full * self.factor / UNIT)) * UNIT

    def unit(self, steps: float) -> int:
        """A step within a run, in whole units."""
        return max(1, round(steps / UNIT)) * UNIT

    def looks(self, horizon: int) -> tuple[int, ...]:
        """Steps at which a run is looked at, up to a tenth of its horizon."""
        shares = (0.005, 0.01, 0.015, 0.025, 0.035, 0.05, 0.07, 0.1)
        return tuple(sorted({self.unit(share * horizon) for share in shares}))
