"""Parameters with and without weight decay, as sweeper.optim.decay tells them apart."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from torch import nn


def decay_groups(
    model: nn.Module, weight_decay: float, no_decay: list[str]
) -> list[dict[str, Any]]:
    """bias: parameters of that name; norm: of normalisation layers; else patterns of names."""
    for pattern in no_decay:
        names = [name for name, _ in model.named_parameters()]
        if pattern not in ("bias", "norm") and not any(fnmatchcase(n, pattern) for n in names):
            raise ValueError(f"no parameter matches {pattern!r}, only {', '.join(names)}")
    norms = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)
    of_norms = {
        id(parameter)
        for layer in model.modules()
        if isinstance(layer, norms)
        for parameter in layer.parameters(recurse=False)
    }

    def is_free(name: str, parameter: nn.Parameter) -> bool:
        is_bias = "bias" in no_decay and name.rpartition(".")[2] == "bias"
        is_norm = "norm" in no_decay and id(parameter) in of_norms
        return is_bias or is_norm or any(fnmatchcase(name, pattern) for pattern in no_decay)

    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (free if is_free(name, parameter) else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
