"""Normalisation by its formula, for second derivatives of many models at once.

Torch's kernels hand mean and deviation to their backward as constants; packed by vmap, the second
derivative then lacks what comes through these, and is wrong without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor


def layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """As torch.nn.functional.layer_norm."""
    return _scaled(_normalised(x, range(-len(normalized_shape), 0), eps), weight, bias)


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As torch.nn.functional.batch_norm; running statistics stay as they are."""
    if training or running_mean is None or running_var is None:
        found = _normalised(x, [0, *range(2, x.ndim)], eps)
    else:
        found = (x - _channels(running_mean, x)) / _channels(running_var + eps, x).sqrt()
    return _of_channels(found, weight, bias)


def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As torch.nn.functional.instance_norm; running statistics stay as they are."""
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    return _of_channels(_normalised(x, range(2, x.ndim), eps), weight, bias)


def _normalised(x: Tensor, dims: Sequence[int], eps: float) -> Tensor:
    centred = x - x.mean(tuple(dims), keepdim=True)
    return centred / (centred.square().mean(tuple(dims), keepdim=True) + eps).sqrt()


def _of_channels(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    wide = (None if one is None else _channels(one, x) for one in (weight, bias))
    return _scaled(x, *wide)


def _channels(one: Tensor, x: Tensor) -> Tensor:
    return one.view(-1, *(1 for _ in range(2, x.ndim)))


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scaled = x if weight is None else x * weight
    return scaled if bias is None else scaled + bias


# By the function of torch in whose place it stands.
FORMULAS: dict[Any, Callable[..., Tensor]] = {
    F.layer_norm: layer_norm,
    F.batch_norm: batch_norm,
    F.instance_norm: instance_norm,
}
