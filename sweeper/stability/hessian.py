"""Products of Hessians with vectors, from the gradient of a pack: one more backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad

from sweeper.optim.step import Gradient

HessianProduct = Callable[..., Tensor]
"""(theta [R, P], vector [R, P], *batch) -> Hessian times vector [R, P]."""


def hessian_product(gradient: Gradient) -> HessianProduct:
    """The Hessian of every row times a vector of its own.

    Reverse over reverse, H v = d/dq (grad L(q))^T v with v held (Pearlmutter 1994): torch's
    compiler fails on forward over reverse under vmap.

    Args:
        gradient: differentiable by torch.func; its rows must be independent, or the products of
            different rows mix.
    """

    def product(theta: Tensor, vector: Tensor, *batch: Tensor) -> Tensor:
        def along(point: Tensor) -> Tensor:
            return (gradient(point, *batch)[0] * vector).sum()

        found: Tensor = grad(along)(theta)
        return found

    return product


def linearised(
    gradient: Gradient, theta: Tensor, *batch: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The gradient `[R, P]` at one point, and the Hessian there as a function of the vector.

    The graph of the gradient is kept, so a product is one backward pass through it: the same
    numbers as `hessian_product`, in a third to a half of the time where nothing is compiled. It
    holds the memory of that graph.
    """
    with torch.enable_grad():
        point = theta.detach().requires_grad_()
        found = gradient(point, *batch)[0]

    def product(vector: Tensor) -> Tensor:
        if not found.requires_grad:  # linear losses have no curvature
            return torch.zeros_like(vector)
        image: Tensor | None = torch.autograd.grad(
            found, point, vector, retain_graph=True, allow_unused=True
        )[0]
        return torch.zeros_like(vector) if image is None else image

    return found.detach(), product
