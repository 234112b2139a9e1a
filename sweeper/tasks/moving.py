"""A model on the device and in the dtype of a pack."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def moved_model(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The model, changed in place. `nn.Module.to` would drop the imaginary part of a buffer."""

    def move(one: Tensor) -> Tensor:
        if one.is_complex():
            return one.to(device, dtype.to_complex())
        return one.to(device, dtype if one.is_floating_point() else None)

    model._apply(move)
    return model
