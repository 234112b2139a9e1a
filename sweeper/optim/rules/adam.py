"""Adam, AdamW and AMSGrad as one update over `[K, P]` tensors.

Kingma & Ba 2014 (1412.6980) Algorithm 1; Loshchilov & Hutter 2017 (1711.05101) for decoupled
decay; Reddi et al. 2018 for AMSGrad, with the maximum over the uncorrected second moment as in
torch.optim. eps stands outside the root, after bias correction.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.optim.configuration import Configuration

STATES = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
COLUMNS = ("beta1", "beta2", "eps", "coupled", "decoupled", "amsgrad")


def row_values(configuration: Configuration) -> list[float]:
    """The hyperparameters of one row, in the order of COLUMNS."""
    values = configuration.values
    decay = float(values["weight_decay"])
    is_decoupled = configuration.optimizer == "adamw"
    return [
        float(values["beta1"]),
        float(values["beta2"]),
        float(values["eps"]),
        0.0 if is_decoupled else decay,
        decay if is_decoupled else 0.0,
        float(values["amsgrad"]),
    ]


def update(
    theta: Tensor,  # [K, P], changed in place
    grad: Tensor,  # [K, P]
    state: dict[str, Tensor],  # [K, P] each, changed in place
    columns: dict[str, Tensor],  # [K] float64 each
    lr: Tensor,  # [K] float64
    step: Tensor,  # [K] float64, updates already made
) -> Tensor:
    """One step of every row; returns what was subtracted from theta, `[K, P]`.

    Bias corrections and step sizes are made in float64 per row and folded into coefficients, so
    that the pass over `[K, P]` is in the dtype of theta.
    """

    def coefficient(value: Tensor) -> Tensor:
        return value.to(theta.dtype)[:, None]

    beta1, beta2 = columns["beta1"], columns["beta2"]
    step_size = coefficient(lr / (1 - beta1 ** (step + 1)))
    root = coefficient(torch.sqrt(1 - beta2 ** (step + 1)))
    grad = grad + coefficient(columns["coupled"]) * theta
    first, second, largest = (state[name] for name in STATES)
    first.add_(coefficient(1 - beta1) * (grad - first))
    second.mul_(coefficient(beta2)).add_(coefficient(1 - beta2) * grad * grad)
    is_amsgrad = columns["amsgrad"][:, None] > 0
    largest.copy_(torch.where(is_amsgrad, torch.maximum(largest, second), second))
    change = step_size * (first / (largest.sqrt() / root + coefficient(columns["eps"])))
    change = change + coefficient(lr * columns["decoupled"]) * theta
    theta.sub_(change)
    return change
