"""Clipping that no training loop can forget."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_


def clip_norm_before_step(optimizer: torch.optim.Optimizer, limit: float) -> None:
    """Clip the norm of the whole gradient within optimizer.step(), called without a closure."""

    def clip(optimizer: torch.optim.Optimizer, *arguments: Any) -> None:
        clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], limit)

    optimizer.register_step_pre_hook(clip)


def clip_value_before_step(optimizer: torch.optim.Optimizer, limit: float) -> None:
    """Clip every element of the gradient within optimizer.step(), called without a closure."""

    def clip(optimizer: torch.optim.Optimizer, *arguments: Any) -> None:
        clip_grad_value_([p for group in optimizer.param_groups for p in group["params"]], limit)

    optimizer.register_step_pre_hook(clip)
