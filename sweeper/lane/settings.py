"""What every lane of a sweep is told, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.lane.pack import Machine
from sweeper.optim.configuration import Configuration
from sweeper.stability.limits import Limits
from sweeper.tasks.registry import TaskName


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """What every lane of a sweep is told.

    Args:
        task: what is trained.
        capacity: slots of a pack.
        machine: device, dtype, compiled or not.
        limits: by which runs are judged.
        programs: that the sweep has: a lane takes more runs than a pack holds where there are
            several, so that one of its packs is full.
        chunk_s: seconds that a chunk should take.
        save_s: seconds between row files.
        silence_s: seconds without a report after which the lane is taken for dead.
        patience_s: seconds for which the storage may fail.
        extras: hyperparameters with state of their own that runs may set; None for all.
        update_cosine: whether to record the cosine of successive updates.
        stress_horizon: steps up to which the forecasts of a run look, see ProbeLog; by batch size
            (0: not set) where that decides; None for runs that aren't probed.
        report_rungs: whether the study is to hear of the losses at rungs, for a pruner.
        metrics: that an own loop must report, since the search optimises them.
    """

    task: TaskName
    capacity: int
    machine: Machine
    limits: Limits
    programs: int = 1
    chunk_s: float = 0.25
    save_s: float = 30.0
    silence_s: float = 60.0
    patience_s: float = 600.0
    extras: frozenset[str] | None = None
    update_cosine: bool = False
    stress_horizon: int | Mapping[int, int] | None = None
    report_rungs: bool = False
    metrics: tuple[str, ...] = ()

    def looks(self, configuration: Configuration) -> int | None:
        """Steps up to which the forecasts of a run look."""
        if isinstance(self.stress_horizon, Mapping):
            return self.stress_horizon[configuration.variant.batch_size or 0]
        return self.stress_horizon
