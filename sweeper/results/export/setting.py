"""A recommended setting as the exporters read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.errors import SweepError
from sweeper.optim.configuration import Configuration, parse
from sweeper.optim.hyperparameters import steps_of


@dataclass(frozen=True)
class Setting:
    """One configuration with its evidence.

    Args:
        found: as `SweepHandle.recommendation` gives it.
        configuration: checked.
        total_steps: of the longest runs in which it held.
    """

    found: Mapping[str, Any]
    configuration: Configuration
    total_steps: int

    @property
    def optimizer(self) -> str:
        return self.configuration.optimizer

    @property
    def values(self) -> dict[str, float | bool]:
        return self.configuration.values

    @property
    def decay(self) -> float:
        """Its weight decay."""
        return float(self.values["weight_decay"])

    @property
    def warmup(self) -> int:
        """Steps of warm-up."""
        return self.configuration.schedule.warmup_steps(self.total_steps)

    @property
    def has_constant_lr(self) -> bool:
        """Whether every step has the same learning rate and momentum."""
        schedule = self.configuration.schedule
        return schedule.kind == "constant" and self.warmup == 0

    @property
    def cycles(self) -> bool:
        """Whether the schedule cycles the momentum."""
        return bool(self.configuration.schedule.values.get("cycle_momentum"))

    @property
    def batch_size(self) -> int | None:
        """Samples of one update; None for the task's own."""
        return self.configuration.variant.batch_size

    def length(self, name: str) -> int:
        """A length of the schedule in steps."""
        value = self.configuration.schedule.values[name]
        assert isinstance(value, int | float)
        return steps_of(value, self.total_steps)


def setting_of(found: Mapping[str, Any]) -> Setting:
    """Read a recommendation. Raises SweepError where its configuration is none."""
    return Setting(found, parse(found["config"], "config"), int(found["proven"]["horizon"]))


def refuse(target: str, what: str, why: str, others: str = "torch") -> SweepError:
    """What a target can't say."""
    return SweepError(
        f"{target} can't express {what}: {why}",
        where=f"--format {target}",
        cure=f"Export it as another format: {others}.",
    )
