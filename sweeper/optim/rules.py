"""The update rules by name: what a row of each keeps, reads and does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from sweeper.optim import adam, schedules, sgd
from sweeper.optim.configuration import Configuration


class Update(Protocol):
    """One step of every row in place; returns what was subtracted from theta, `[K, P]`."""

    def __call__(
        self,
        theta: Tensor,
        grad: Tensor,
        state: dict[str, Tensor],
        columns: dict[str, Tensor],
        lr: Tensor,
        step: Tensor,
    ) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """An update rule over `[K, P]` tensors.

    Args:
        name: its name in the catalog.
        states: names of its state tensors, `[K, P]` each, zero at the start.
        columns: names of its own per-row values, `[K]` each.
        own_values: a configuration's values in the order of `columns`.
        update: the step.
    """

    name: str
    states: tuple[str, ...]
    columns: tuple[str, ...]
    own_values: Callable[[Configuration], list[float]]
    update: Update

    @property
    def all_columns(self) -> tuple[str, ...]:
        """Every per-row value of an arena: lr, schedule, then the rule's own."""
        return ("lr", *schedules.COLUMNS, *self.columns)

    def row_values(self, configuration: Configuration, horizon: int) -> list[float]:
        """One row in the order of `all_columns`."""
        return [
            float(configuration.values["lr"]),
            *schedules.row_values(configuration, horizon),
            *self.own_values(configuration),
        ]


RULES: dict[str, Rule] = {
    "adam": Rule("adam", adam.STATES, adam.COLUMNS, adam.row_values, adam.update),
    "sgd": Rule("sgd", sgd.STATES, sgd.COLUMNS, sgd.row_values, sgd.update),
}
