"""Our schedules as a torch.optim.lr_scheduler, for a user's own loop."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sweeper.optim import schedules
from sweeper.optim.schedule import Schedule


class ScheduleLR(LRScheduler):
    """Any schedule of sweeper, closed-form in the step; call `step()` after every update.

    Its state is plain data. It sets lr in every group, and momentum or beta1 where the schedule
    cycles it.

    Args:
        optimizer: its lr is the peak of the schedule.
        schedule: of a checked configuration.
        total_steps: steps of the whole run: what fractions of the horizon refer to.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, total_steps: int) -> None:
        self.kind, self.total_steps = schedule.kind, total_steps
        self.values = schedules.row_values(schedule, total_steps)
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        """lr of every group for the next update."""
        step = np.full((1, 1), float(self.last_epoch))
        horizon = np.full(1, float(self.total_steps))
        values = {name: np.full(1, value) for name, value in self.values.items()}
        with np.errstate(all="ignore"):
            share = float(schedules.factor(self.kind, step, horizon, values).item())
            cycled = schedules.momentum(self.kind, step, horizon, values)
        if cycled is not None and self.values["cycle_momentum"]:
            self._set_momentum(float(cycled.item()))
        return [base * share for base in self.base_lrs]

    def _set_momentum(self, value: float) -> None:
        for group in self.optimizer.param_groups:
            if "momentum" in group:
                group["momentum"] = value
            else:
                group["betas"] = (value, *group["betas"][1:])
