"""A pack in a lane: where its runs end, how long a step takes, and how many make a chunk."""

from __future__ import annotations

import math

from sweeper.lane.loop_pack import LoopPack
from sweeper.lane.pace import Pace
from sweeper.lane.pack import SAMPLE_EVERY, Pack

# Until it is known how long a step takes, chunks are this long at most.
UNTUNED_STEPS = 50


class TimedPack:
    """A pack, the horizons of its runs, and the length of its chunks.

    Args:
        pack: that is trained.
        chunk_s: seconds that a chunk should take.

    Attributes:
        ends: horizon by run.
        step_s: seconds of a step, as last seen; 0 before.
        turn: when it was trained last, counted over all packs of the lane.
        is_announced: whether the study knows that it is to be compiled.
    """

    def __init__(self, pack: Pack | LoopPack, chunk_s: float) -> None:
        self.pack = pack
        self._pace = Pace()
        self.ends: dict[int, int] = {}
        self.step_s = 0.0
        self.turn = 0
        self.is_announced = False
        self._chunk_s = chunk_s
        self._chunk: int | None = None

    @property
    def is_compiled(self) -> bool:
        """Whether it has been trained before."""
        return self._chunk is not None

    @property
    def is_news(self) -> bool:
        """Whether it is to be compiled, and the study has not heard of it yet."""
        return not (self.is_compiled or self.is_announced)

    @property
    def chunk(self) -> int:
        """Steps of a chunk. The first one compiles, and is kept short."""
        if self._chunk is None:
            return min([SAMPLE_EVERY, *self.ends.values()])
        return self._chunk

    def ending(self, chunks: int = 1) -> int:
        """Runs that end within the next chunks."""
        slots = self.pack.runs()
        left = (end - self.pack.step_of(slots[run]) for run, end in self.ends.items())
        return sum(steps <= chunks * self.chunk for steps in left)

    def tune(self, steps: int, seconds: float) -> None:
        """Let a chunk take about `chunk_s`, and a horizon be whole chunks: rows end on one.

        Args:
            steps: that were made; a loop of the user's own may have made none.
            seconds: that they took.
        """
        step_s = self._pace.add(steps, seconds)
        if step_s is None:
            return
        self.step_s = step_s
        horizon = min(self.ends.values())
        wanted = min(max(1, round(self._chunk_s / self.step_s)), horizon)
        if self._chunk is None and self.step_s * 10 > self._chunk_s:
            wanted = min(UNTUNED_STEPS, horizon)  # that was the compilation
        self._chunk = chunk_length(horizon, wanted, SAMPLE_EVERY)

    def remove(self, run: int) -> None:
        """Empty the slot of a run."""
        del self.ends[run]
        self.pack.remove(self.pack.runs()[run])


def chunk_length(horizon: int, wanted: int, unit: int) -> int:
    """The number of steps nearest to `wanted` that divides the horizon into whole chunks.

    It is a multiple of `unit`, the distance of the samples. Where no divisor is near, the last
    chunk of a run is shorter.
    """
    if horizon <= unit:
        return horizon
    most = max(1, round(min(wanted, horizon) / unit))
    near = [n for n in range(max(1, most // 2), 2 * most + 1) if horizon % (n * unit) == 0]
    return unit * min(near, key=lambda n: abs(math.log(n / most)), default=most)
