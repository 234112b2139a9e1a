"""Problems with known gradients: a quadratic, Rosenbrock's function, a small network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Problem:
    """A loss of parameter tensors of some sizes.

    Args:
        sizes: elements of each parameter tensor.
        start: `[P]`, float64.
        loss: of all parameters as one vector `[P]`.
        lr_scale: what learning rates of the cases are multiplied by to stay in the stable range.
    """

    sizes: tuple[int, ...]
    start: Tensor
    loss: Callable[[Tensor], Tensor]
    lr_scale: float = 1.0

    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient `[K, P]` and loss `[K]` of every row."""
        with torch.enable_grad():
            leaf = theta.detach().requires_grad_()
            losses = torch.stack([self.loss(row.double()) for row in leaf])
            (grad,) = torch.autograd.grad(losses.sum(), leaf)
        return grad, losses.detach()


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quadratic() -> Problem:
    """Least squares with eigenvalues from 0.1 to 5."""
    basis, _ = torch.linalg.qr(normal(12, 12, seed=0))
    hessian = basis @ torch.diag(torch.linspace(0.1, 5, 12, dtype=torch.float64)) @ basis.T
    return Problem((5, 7), normal(12, seed=1), lambda theta: theta @ hessian @ theta / 2)


def rosenbrock() -> Problem:
    """In four dimensions, from the customary start."""

    def loss(theta: Tensor) -> Tensor:
        head, tail = theta[:-1], theta[1:]
        return (100 * (tail - head**2) ** 2 + (1 - head) ** 2).sum()

    start = torch.tensor([-1.2, 1.0, -1.2, 1.0], dtype=torch.float64)
    return Problem((4,), start, loss, lr_scale=0.01)


def network() -> Problem:
    """Three inputs, eight tanh units, one output, 16 points."""
    inputs, targets = normal(16, 3, seed=2), normal(16, seed=3)

    def loss(theta: Tensor) -> Tensor:
        weight, bias, head = theta.split((24, 8, 8))
        hidden = torch.tanh(inputs @ weight.view(3, 8) + bias)
        return ((hidden @ head - targets) ** 2).mean()

    return Problem((24, 8, 8), normal(40, seed=4) / 2, loss)


PROBLEMS = {"quadratic": quadratic, "rosenbrock": rosenbrock, "network": network}
