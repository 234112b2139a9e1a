"""Products of Hessians with vectors, from the gradient of a pack: one more backward pass."""

from __future__ import annotations

from collections.abc import Callable

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
