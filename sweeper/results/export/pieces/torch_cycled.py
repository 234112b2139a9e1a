"""A scheduler that cycles the momentum against the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class CycledLR(torch.optim.lr_scheduler.LambdaLR):
    """LambdaLR that also sets the momentum (beta1) of the step."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        lr_share: Callable[[int], float],
        momentum: Callable[[int], float],
    ) -> None:
        self.momentum = momentum
        super().__init__(optimizer, lr_share)

    def get_lr(self) -> list[Any]:
        for group in self.optimizer.param_groups:
            value = self.momentum(self.last_epoch)
            if "momentum" in group:
                group["momentum"] = value
            else:
                group["betas"] = (value, *group["betas"][1:])
        return super().get_lr()

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        del state["momentum"]
        return state
