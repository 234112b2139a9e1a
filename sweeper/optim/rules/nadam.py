"""NAdam (Dozat 2016), as torch.optim.NAdam.

The momentum rises: mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2). The product of all mu so far
has no closed form; 1 - product is kept: it starts at zero and grows as an average of ones does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sweeper.optim.array import Array
from sweeper.optim.rules.rule import Move, Rule, Sizes, State


def coefficients(columns: Mapping[str, Array], lr: Array, t: Array) -> dict[str, Array]:
    beta1, beta2, decay = columns["beta1"], columns["beta2"], columns["momentum_decay"]
    return {
        "lr": lr,
        "mu": beta1 * (1 - 0.5 * 0.96 ** (t * decay)),
        "mu_next": beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * decay)),
        "unbiased": 1 / np.sqrt(1 - beta2**t),
        "beta1_left": 1 - beta1,
        "beta2": beta2,
        "beta2_left": 1 - beta2,
        "eps": columns["eps"],
    }


def root(state: State, c: State) -> Tensor:
    return torch.sqrt(state["exp_avg_sq"]) * c["unbiased"]


def update(theta: Tensor, grad: Tensor, state: State, c: State, sizes: Sizes) -> Move:
    del theta, sizes
    first, second = state["exp_avg"], state["exp_avg_sq"]
    first = first + c["beta1_left"] * (grad - first)
    second = c["beta2"] * second + c["beta2_left"] * grad * grad
    corrected = state["mu_correction"] * c["mu"] + (1 - c["mu"])  # 1 - mu_1 ... mu_t
    corrected_next = corrected * c["mu_next"] + (1 - c["mu_next"])
    of_grad = c["lr"] * (1 - c["mu"]) / corrected
    of_first = c["lr"] * c["mu_next"] / corrected_next
    after = {"exp_avg": first, "exp_avg_sq": second, "mu_correction": corrected}
    divisor = root(after, c)
    change = (of_grad * grad + of_first * first) / (divisor + c["eps"])
    return Move(change, after, divisor)


RULE = Rule(
    name="nadam",
    states=("exp_avg", "exp_avg_sq"),
    scalars=("mu_correction",),
    columns=("beta1", "beta2", "eps", "momentum_decay"),
    coefficients=coefficients,
    update=update,
    cycled="beta1",
    root=root,
)
