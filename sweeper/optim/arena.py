"""The state of a pack: K rows of parameters, optimizer state, hyperparameters and step counters.

Rows need no lockstep: each has its own step and horizon. A row whose step has reached its horizon
is frozen (its learning rate is 0), and an empty slot is a row of horizon 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sweeper.optim.configuration import Configuration
from sweeper.optim.rules import Rule


@dataclass(frozen=True, slots=True)
class Arena:
    """Tensors of a pack, changed in place.

    Args:
        theta: `[K, P]` parameters.
        state: `[K, P]` each, the rule's state.
        values: `[K, H]` float64, hyperparameters in the order of `rule.all_columns`.
        step: `[K]` int64, updates made.
        horizon: `[K]` int64, steps of the run; 0 for an empty slot.
    """

    rule: Rule
    theta: Tensor
    state: dict[str, Tensor]
    values: Tensor
    step: Tensor
    horizon: Tensor

    @classmethod
    def empty(
        cls, rule: Rule, capacity: int, size: int, *, dtype: torch.dtype, device: torch.device
    ) -> Arena:
        """An arena of `capacity` empty slots for models of `size` parameters."""

        def zeros(*shape: int, kind: torch.dtype = dtype) -> Tensor:
            return torch.zeros(*shape, dtype=kind, device=device)

        return cls(
            rule=rule,
            theta=zeros(capacity, size),
            state={name: zeros(capacity, size) for name in rule.states},
            values=zeros(capacity, len(rule.all_columns), kind=torch.float64),
            step=zeros(capacity, kind=torch.int64),
            horizon=zeros(capacity, kind=torch.int64),
        )

    @property
    def capacity(self) -> int:
        return self.theta.shape[0]

    def start(self, slot: int, theta: Tensor, configuration: Configuration, horizon: int) -> None:
        """Put a new run into a slot: parameters `theta` `[P]`, state zero, step 0."""
        self.theta[slot] = theta.to(self.theta)
        for tensor in self.state.values():
            tensor[slot] = 0
        self._describe(slot, configuration, horizon, step=0)

    def load(
        self, slot: int, row: dict[str, Tensor], configuration: Configuration, horizon: int
    ) -> None:
        """Put a saved row back; continues bit-identically at the same capacity."""
        self.theta[slot] = row["theta"].to(self.theta)
        for name, tensor in self.state.items():
            tensor[slot] = row[name].to(tensor)
        self._describe(slot, configuration, horizon, step=int(row["step"]))

    def save(self, slot: int) -> dict[str, Tensor]:
        """The row as plain tensors on the host, `[P]` each, and its step."""
        row = {"theta": self.theta[slot], **{n: t[slot] for n, t in self.state.items()}}
        row["step"] = self.step[slot]
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in row.items()}

    def clear(self, slot: int) -> None:
        """Empty a slot. Non-finite leftovers would be harmless but slow on some hardware."""
        self.theta[slot] = 0
        for tensor in self.state.values():
            tensor[slot] = 0
        self.values[slot] = 0
        self.step[slot] = 0
        self.horizon[slot] = 0

    def _describe(
        self, slot: int, configuration: Configuration, horizon: int, *, step: int
    ) -> None:
        values = self.rule.row_values(configuration, horizon)
        self.values[slot] = torch.tensor(values, dtype=torch.float64)
        self.step[slot] = step
        self.horizon[slot] = horizon
