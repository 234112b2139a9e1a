"""What the optimizers have in common that torch.optim doesn't have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class Stepper(torch.optim.Optimizer):
    """An optimizer given by its step on one group of parameters."""

    def __init__(self, params: Iterable[Any], **defaults: Any) -> None:
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.begin_step()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.state[parameter].setdefault("step", 0)
                    self.state[parameter]["step"] += 1
                    self.move(parameter, parameter.grad, self.state[parameter], group)
        return loss

    def begin_step(self) -> None:
        """What a step needs of all parameters at once."""

    def move(
        self, parameter: torch.Tensor, grad: torch.Tensor, state: Any, group: dict[str, Any]
    ) -> None:
        raise NotImplementedError

    def kept(self, parameter: torch.Tensor, name: str) -> torch.Tensor:
        """A state tensor of a parameter, zero at the start."""
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        found: torch.Tensor = state[name]
        return found
