"""Adai (Xie et al. 2022, 2006.15815, Algorithm 2): the inertia adapts, the learning rate doesn't.

With vhat the bias-corrected second moment and vbar its mean over all coordinates of a row,
beta1_i = clip(1 - beta0 vhat_i / vbar, 0, 1 - eps), m = beta1_i m + (1 - beta1_i) g, and
theta -= lr m / (1 - product of all beta1_i so far). 1 - product is kept: it starts at zero and
grows as an average of ones does. A row whose gradients are all zero so far has the largest
inertia, where the authors' code divides zero by zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sweeper.optim.array import Array
from sweeper.optim.rules.rule import Move, Rule, Sizes, State


def coefficients(columns: Mapping[str, Array], lr: Array, t: Array) -> dict[str, Array]:
    beta2 = columns["beta2"]
    return {
        "lr": lr,
        "beta0": columns["beta0"],
        "beta2": beta2,
        "beta2_left": 1 - beta2,
        "corrected": 1 - beta2**t,
        "smallest": columns["eps"],  # of 1 - beta1_i: no divisor's eps
    }


def update(theta: Tensor, grad: Tensor, state: State, c: State, sizes: Sizes) -> Move:
    del theta, sizes
    second = c["beta2"] * state["exp_avg_sq"] + c["beta2_left"] * grad * grad
    unbiased = second / c["corrected"]
    mean = unbiased.mean(1, keepdim=True)
    share = torch.where(mean > 0, unbiased / mean, 0.0)
    left = torch.minimum(torch.maximum(c["beta0"] * share, c["smallest"]), torch.ones_like(share))
    first = state["exp_avg"] + left * (grad - state["exp_avg"])
    correction = state["beta1_correction"] + left * (1 - state["beta1_correction"])
    after = {"exp_avg": first, "exp_avg_sq": second, "beta1_correction": correction}
    return Move(c["lr"] * (first / correction), after)


RULE = Rule(
    name="adai",
    states=("exp_avg", "exp_avg_sq", "beta1_correction"),
    columns=("beta0", "beta2", "eps"),
    coefficients=coefficients,
    update=update,
    averages=True,
)
