"""Gradients of models that can't be packed: one row after the other."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from sweeper.errors import SweepError
from sweeper.optim.step import Gradient
from sweeper.tasks.forward import Forward
from sweeper.tasks.parts import each
from sweeper.tasks.randomness import seeded


def one_by_one(forward: Forward) -> Gradient:
    """As `packed_gradient`, for any model. Never to be compiled; rows at rest are left out.

    Random calls that torch has no replacement for draw from torch's global generator, seeded by
    the run's seed and step.
    """

    def gradient(theta: Tensor, inputs: Any, targets: Any, context: Any) -> tuple[Tensor, Tensor]:
        grads, losses = torch.zeros_like(theta), torch.zeros_like(theta[:, 0])
        for slot in context["active"].nonzero()[:, 0].tolist():
            own_inputs, own_targets = (each(itemgetter(slot), p) for p in (inputs, targets))
            own = {name: tensor[slot] for name, tensor in context["own"].items()}
            key = context["key"][slot]
            found = row_gradient(forward, theta[slot], own, own_inputs, own_targets, key)
            grads[slot], losses[slot] = found[0], found[1]
            for name, tensor in found[2].items():
                context["own"][name][slot] = tensor
        return grads, losses

    return gradient


def row_gradient(
    forward: Forward, row: Tensor, own: dict[str, Tensor], inputs: Any, targets: Any, key: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Gradient `[P]`, loss and changed own tensors of one row by plain autograd."""
    leaf = row.detach().clone().requires_grad_()
    with torch.enable_grad(), seeded(int(key), row.device):
        loss, after = forward(leaf, own, inputs, targets, key)
        if not loss.requires_grad:
            raise SweepError("the loss doesn't depend on the parameters", where="loss")
        grads = torch.autograd.grad(loss, leaf, allow_unused=True)[0]
    found = torch.zeros_like(row) if grads is None else grads
    return found, loss.detach(), {name: tensor.detach() for name, tensor in after.items()}
