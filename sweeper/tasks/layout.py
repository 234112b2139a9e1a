"""Where the tensors of a model lie in a pack.

`K` rows, `P` trainable parameters of one model. The parameters are one row `[P]` of a matrix. What
else a model holds is either state that every run has its own of (running statistics, frozen
parameters that start at random), or the same for all runs (masks, tables).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sweeper.errors import SweepError


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each trainable parameter lies in a row of `size` values."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @classmethod
    def of(cls, model: nn.Module) -> Layout:
        """The layout of a model; raises SweepError where nothing can be trained."""
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not named:
            raise SweepError("the model has no trainable parameter", where="task")
        for name, parameter in named.items():
            if not parameter.is_floating_point():
                raise SweepError(
                    f"the parameter {name!r} is of {parameter.dtype}",
                    where="task",
                    allowed="real floating-point parameters",
                )
        return cls(tuple(named), tuple(p.shape for p in named.values()))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of elements of every parameter."""
        return tuple(shape.numel() for shape in self.shapes)

    def flatten(self, model: nn.Module) -> Tensor:
        """The parameters of a model as one row `[P]`."""
        named = dict(model.named_parameters())
        return torch.cat([named[name].detach().reshape(-1) for name in self.names])

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Views by name of `theta` `[..., P]`, each `[..., *shape]`."""
        parts = theta.split(self.sizes, dim=-1)
        return {
            name: part.unflatten(-1, shape) if len(shape) != 1 else part
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Form:
    """What a model needs in a pack beside its parameters.

    Args:
        layout: of its parameters.
        own: names of the other tensors that every run has its own of.
        shared: the other tensors that are the same for all runs, on the device.
        changing: names of those of `own` that a forward changes.
        is_random: whether a forward draws random numbers.
        trouble: why the model can't be packed, in words; empty where it can.
    """

    layout: Layout
    own: tuple[str, ...] = ()
    shared: Mapping[str, Tensor] = field(default_factory=dict)
    changing: tuple[str, ...] = ()
    is_random: bool = False
    trouble: str = ""

    @property
    def has_context(self) -> bool:
        """Whether a step needs more than parameters and data; see gradient.Context."""
        return bool(self.own or self.is_random or self.trouble)

    def own_of(self, model: nn.Module) -> dict[str, Tensor]:
        """Those tensors of a model, by name."""
        named = others(model)
        return {name: named[name] for name in self.own}

    def load(self, model: nn.Module, theta: Tensor, own: Mapping[str, Tensor]) -> None:
        """Put parameters `[P]` and own tensors into a model."""
        named = {**dict(model.named_parameters()), **others(model)}
        with torch.no_grad():
            for name, tensor in {**self.layout.unflatten(theta), **own}.items():
                named[name].copy_(tensor)


def others(model: nn.Module) -> dict[str, Tensor]:
    """Buffers and frozen parameters of a model, by name."""
    frozen = {n: p.detach() for n, p in model.named_parameters() if not p.requires_grad}
    return {**frozen, **dict(model.named_buffers())}
