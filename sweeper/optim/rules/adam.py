"""Adam, AdamW and AMSGrad.

Kingma & Ba 2014 (1412.6980), Algorithm 1; AMSGrad of Reddi et al. 2018 with the maximum over the
uncorrected second moment, as torch.optim has it. eps stands outside the root, after bias
correction; `eps_hat` is the form before the paper's section 2.1, which TensorFlow and Keras have:
lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sweeper.optim.array import Array
from sweeper.optim.rules.rule import Move, Rule, Sizes, State


def coefficients(columns: Mapping[str, Array], lr: Array, t: Array) -> dict[str, Array]:
    beta1, beta2, eps = columns["beta1"], columns["beta2"], columns["eps"]
    unbiased = 1 / np.sqrt(1 - beta2**t)  # sqrt(vhat) = sqrt(v) * unbiased
    return {
        "lr": lr,
        "step_size": lr / (1 - beta1**t),
        "unbiased": unbiased,
        "beta1_left": 1 - beta1,
        "beta2": beta2,
        "beta2_left": 1 - beta2,
        "eps": np.where(columns["eps_hat"] > 0, eps * unbiased, eps),
        "amsgrad": columns["amsgrad"],
    }


def root(state: State, c: State) -> Tensor:
    largest = state.get("max_exp_avg_sq", state["exp_avg_sq"])
    return torch.sqrt(largest) * c["unbiased"]


def update(theta: Tensor, grad: Tensor, state: State, c: State, sizes: Sizes) -> Move:
    del theta, sizes
    first, second = state["exp_avg"], state["exp_avg_sq"]
    first = first + c["beta1_left"] * (grad - first)
    second = c["beta2"] * second + c["beta2_left"] * grad * grad
    after = {"exp_avg": first, "exp_avg_sq": second}
    if "max_exp_avg_sq" in state:  # then every row keeps it: who will be in its slot is not known
        largest = torch.maximum(state["max_exp_avg_sq"], second)
        after["max_exp_avg_sq"] = torch.where(c["amsgrad"] > 0, largest, second)
    divisor = root(after, c)
    change = c["step_size"] * (first / (divisor + c["eps"]))
    return Move(change, after, divisor)


RULE = Rule(
    name="adam",
    states=("exp_avg", "exp_avg_sq"),
    extras={"amsgrad": "max_exp_avg_sq"},
    columns=("beta1", "beta2", "eps", "amsgrad", "eps_hat"),
    coefficients=coefficients,
    update=update,
    cycled="beta1",
    root=root,
)
