"""Inputs and targets: a tensor, or a tuple of tensors for models with several of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Part = Tensor | tuple[Tensor, ...]
"""`[N, ...]` each."""


def each(function: Callable[[Tensor], Tensor], part: Part) -> Part:
    """The part with the function applied to each of its tensors."""
    return function(part) if isinstance(part, Tensor) else tuple(function(one) for one in part)


def tensors(part: Part) -> tuple[Tensor, ...]:
    """The tensors of a part."""
    return (part,) if isinstance(part, Tensor) else part


def moved(part: Part, device: torch.device, dtype: torch.dtype) -> Part:
    """The part on a device; what is floating-point in the given dtype."""

    def move(one: Tensor) -> Tensor:
        return one.to(device, dtype if one.is_floating_point() else None, non_blocking=True)

    return each(move, part)


def shapes(part: Part) -> tuple[torch.Size, ...]:
    """Of one sample of a batch, or of all data."""
    return tuple(one.shape[1:] for one in tensors(part))


def stack(parts: list[Part]) -> Part:
    """Parts of equal shapes side by side, `[K, ...]`; a view where they are one and the same."""
    if all(part is parts[0] for part in parts):
        return each(lambda one: one.expand(len(parts), *one.shape), parts[0])
    if isinstance(parts[0], Tensor):
        return torch.stack([one for part in parts for one in tensors(part)])
    columns = zip(*(tensors(part) for part in parts), strict=True)
    return tuple(torch.stack(column) for column in columns)
