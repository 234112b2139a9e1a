"""SGD with heavy-ball momentum and coupled (L2) decay over `[K, P]` tensors.

The conventions are those of torch.optim.SGD:
buf = momentum * buf + g (buf = g at the first step), theta -= lr * buf: lr stands outside the
buffer (Sutskever et al. 2013 put it inside; the two differ under a schedule).
"""

from __future__ import annotations

from torch import Tensor

from sweeper.optim.configuration import Configuration

STATES = ("momentum_buffer",)
COLUMNS = ("momentum", "coupled")


def row_values(configuration: Configuration) -> list[float]:
    """The hyperparameters of one row, in the order of COLUMNS."""
    values = configuration.values
    return [float(values["momentum"]), float(values["weight_decay"])]


def update(
    theta: Tensor,  # [K, P], changed in place
    grad: Tensor,  # [K, P]
    state: dict[str, Tensor],  # [K, P] each, changed in place
    columns: dict[str, Tensor],  # [K] float64 each
    lr: Tensor,  # [K] float64
    step: Tensor,  # [K] float64, updates already made
) -> Tensor:
    """One step of every row; returns what was subtracted from theta, `[K, P]`."""
    del step  # the buffer starts at zero, which is torch's first step

    def coefficient(value: Tensor) -> Tensor:
        return value.to(theta.dtype)[:, None]

    buffer = state["momentum_buffer"]
    grad = grad + coefficient(columns["coupled"]) * theta
    buffer.mul_(coefficient(columns["momentum"])).add_(grad)
    change = coefficient(lr) * buffer
    theta.sub_(change)
    return change
