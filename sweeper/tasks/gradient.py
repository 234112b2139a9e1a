"""Gradients of K models at once: an ordinary torch module packed by torch.func.

`K` rows, `P` parameters of one model, `B` batch size, `N` samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value, vmap

from sweeper.errors import SweepError
from sweeper.optim.step import Gradient
from sweeper.tasks.task import PackedLoss, Task


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each parameter lies in a row of `size` values."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @classmethod
    def of(cls, model: nn.Module) -> Layout:
        """The layout of a model; raises SweepError for what can't be packed yet."""
        if any(True for _ in model.buffers()):
            raise SweepError(
                "the model has buffers (running statistics), which packs can't hold yet",
                where="task",
                cure="Use LayerNorm or GroupNorm in place of BatchNorm.",
            )
        named = dict(model.named_parameters())
        if not named:
            raise SweepError("the model has no trainable parameter", where="task")
        return cls(tuple(named), tuple(p.shape for p in named.values()))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of elements of every parameter."""
        return tuple(shape.numel() for shape in self.shapes)

    def flatten(self, model: nn.Module) -> Tensor:
        """The parameters of a model as one row `[P]`."""
        return torch.cat([p.detach().reshape(-1) for _, p in model.named_parameters()])

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Views by name of `theta` `[..., P]`, each `[..., *shape]`."""
        parts = theta.split(self.sizes, dim=-1)
        return {
            name: part.unflatten(-1, shape) if len(shape) != 1 else part
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }


def packed_gradient(
    task: Task, layout: Layout, theta: Tensor, data: tuple[Tensor, Tensor]
) -> Gradient:
    """Gradient and loss of every row, in the fastest form whose rows don't depend on their slot.

    A product with data that all rows share is one large matrix product, several times faster than
    K small ones; but some libraries round its columns differently by position (float64 on x86).
    The form is therefore tried once with equal rows, and given up where they come out different.

    Args:
        task: what is trained.
        layout: of the task's model.
        theta: `[K, P]`; shape, dtype and device of the pack. Not read.
        data: inputs and targets on the device.

    Returns:
        For the full batch a function of theta; else of theta and the batch indices `[K, B]`.
    """
    model = task.initial(0)
    with torch.no_grad():
        row = layout.flatten(model).to(theta)
    model = model.to(device="meta")

    def loss_of_row(row: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        output = functional_call(model, layout.unflatten(row), (inputs,))
        return task.loss(output, targets)

    per_row = grad_and_value(loss_of_row)
    if task.batch_size is not None:
        return _mini_batch(per_row, data)
    fast = _shared(per_row, data)
    if task.packed_loss is not None:
        fast = _by_hand(task.packed_loss, layout, data)
    return fast if _rows_agree(fast, row, theta.shape[0]) else _isolated(per_row, data)


def _mini_batch(per_row: Gradient, data: tuple[Tensor, Tensor]) -> Gradient:
    own_data = vmap(per_row)
    inputs, targets = data

    def gradient(theta: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        return own_data(theta, inputs[chosen], targets[chosen])

    return gradient


def _shared(per_row: Gradient, data: tuple[Tensor, Tensor]) -> Gradient:
    all_rows = vmap(per_row, in_dims=(0, None, None))
    return lambda theta: all_rows(theta, *data)


def _isolated(per_row: Gradient, data: tuple[Tensor, Tensor]) -> Gradient:
    """Every row with a view of the data of its own: K small products of one shape."""
    own_data = vmap(per_row)

    def gradient(theta: Tensor) -> tuple[Tensor, Tensor]:
        return own_data(theta, *(part.expand(theta.shape[0], *part.shape) for part in data))

    return gradient


def _by_hand(packed_loss: PackedLoss, layout: Layout, data: tuple[Tensor, Tensor]) -> Gradient:
    """From the task's own packed loss: rows are independent, so the sum has their gradients."""

    def total(theta: Tensor) -> tuple[Tensor, Tensor]:
        losses = packed_loss(layout.unflatten(theta), *data)
        return losses.sum(), losses

    return grad(total, has_aux=True)


def _rows_agree(gradient: Gradient, row: Tensor, capacity: int) -> bool:
    """Whether equal rows get bitwise equal gradients and losses in every slot."""
    grads, losses = gradient(row.expand(capacity, -1).contiguous())
    return bool((grads == grads[:1]).all()) and bool((losses == losses[:1]).all())
