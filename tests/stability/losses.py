"""Losses with Hessians that are known or small enough to be made whole."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad_and_value, jacrev, vmap

from sweeper.optim.step import Gradient

Loss = Callable[..., Tensor]
"""(theta [P], *sample) -> scalar."""
NETWORK_SIZE = 40


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


INPUTS, TARGETS = normal(16, 3, seed=2), normal(16, seed=3)
DESIGN, RESPONSE = normal(30, 12, seed=5), normal(30, seed=6)


def network(theta: Tensor) -> Tensor:
    """Three inputs, eight tanh units, one output, 16 points: no convex loss."""
    weight, bias, head = theta.split((24, 8, 8))
    hidden = torch.tanh(INPUTS.to(theta) @ weight.view(3, 8) + bias)
    return ((hidden @ head - TARGETS.to(theta)) ** 2).mean()


def least_squares(theta: Tensor) -> Tensor:
    """Linear, 30 points in 12 dimensions: the Hessian is 2 X^T X everywhere."""
    return ((DESIGN.to(theta) @ theta - RESPONSE.to(theta)) ** 2).sum()


def quadratic(theta: Tensor, matrix: Tensor) -> Tensor:
    """With a matrix of its own for every row."""
    return theta @ matrix @ theta / 2


def packed(loss: Loss) -> Gradient:
    """Gradient and loss of every row."""
    found: Gradient = vmap(grad_and_value(loss))
    return found


def dense(loss: Loss, theta: Tensor) -> Tensor:
    """Hessian of every row, `[R, P, P]`."""
    return torch.stack([jacrev(jacrev(loss))(row) for row in theta])


def symmetric(*eigenvalues: float, seed: int) -> Tensor:
    """A matrix with these eigenvalues, `[P, P]`."""
    basis, _ = torch.linalg.qr(normal(len(eigenvalues), len(eigenvalues), seed=seed))
    return basis @ torch.tensor(eigenvalues, dtype=torch.float64).diag() @ basis.T
