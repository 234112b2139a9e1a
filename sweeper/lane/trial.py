"""What an own loop is handed: its configuration, its folder, and the three lines."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex

from torch import Tensor
from torch.optim import Optimizer

from sweeper.errors import SweepError, shown
from sweeper.lane.reports import Reports
from sweeper.optim.catalog import SERIES
from sweeper.optim.own_loop import Parameters, make_optimizer
from sweeper.optim.scheduler import ScheduleLR


class Trial:
    """One run of a sweep, as the training loop of a user sees it.

    Attributes:
        config: the complete configuration, e.g. `config["optimizer"]`, `config["lr"]`.
        seed: of the run. Python's, NumPy's and torch's generators have been seeded with it.
        horizon: optimizer steps to be made.
        device: `cpu`, `cuda` or `cuda:N`.
        folder: of this run alone, there already; what the loop keeps here it finds again when it
            is started once more, after a crash or an interrupt.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        seed: int,
        horizon: int,
        device: str,
        folder: Path,
        reports: Reports,
    ) -> None:
        self.config, self.seed, self.horizon = dict(config), seed, horizon
        self.device, self.folder = device, folder
        self._reports = reports
        self._optimizer: Optimizer | None = None

    def make_optimizer(self, params: Parameters) -> tuple[Optimizer, ScheduleLR]:
        """The optimizer and the scheduler of the configuration.

        Clipping happens within `optimizer.step()`. Call `scheduler.step()` after each of them.

        Args:
            params: the model, its `named_parameters()` or its `parameters()`.
        """
        optimizer, scheduler = make_optimizer(params, self.config, self.horizon)
        self._optimizer = optimizer
        return optimizer, scheduler

    def report(self, step: int, *, loss: SupportsFloat, **metrics: SupportsFloat) -> None:
        """Report the loss of a step; it may wait here until the lane wants more steps.

        After a restart, steps that were reported before are left out: just report them again.

        Args:
            step: 0 is the first. Steps may be left out: a report speaks of all steps since the
                one before.
            loss: of the batch of that step, before its update.
            metrics: by any names, e.g. held_out_accuracy: the last value of each counts as the
                run's evaluation. grad_norm, update_rms, ... go into its trajectory.

        Raises:
            SweepError: a step that goes back or is beyond the horizon, a loss that is no number.
        """
        numbers = {name: _number(value, name) for name, value in metrics.items()}
        series = {name: value for name, value in numbers.items() if name in SERIES}
        if self._optimizer is not None:
            series.setdefault("lr", float(self._optimizer.param_groups[0]["lr"]))
        others = {name: value for name, value in numbers.items() if name not in SERIES}
        self._reports.add(_index(step), _number(loss, "loss"), series, others)

    @property
    def should_stop(self) -> bool:
        """Whether to return: the horizon is reached, the run is given up, or it is interrupted.

        Save a checkpoint before returning: an interrupted run goes on later. A loop that goes on
        regardless is ended at its next report.
        """
        return self._reports.is_over


def _index(step: SupportsIndex) -> int:
    try:
        return operator.index(step)
    except TypeError:
        raise SweepError(
            f"step {shown(step)}", where="trial.report", allowed="an int, counted from 0"
        ) from None


def _number(value: Any, name: str) -> float:
    if isinstance(value, Tensor):
        value = value.detach()
    if not isinstance(value, str | bytes | bool):
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            pass
    raise SweepError(
        f"{name} {shown(value)} is not a number",
        where="trial.report",
        allowed="a float, or a tensor of one element",
    )
