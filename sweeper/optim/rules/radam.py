"""RAdam (Liu et al. 2019, 1908.03265), as torch.optim.RAdam.

While the length rho_t of the approximated simple average is at most 5, the step is that of
momentum alone; later it is rectified by r_t. eps is added to the square root of the second moment
before its bias correction.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sweeper.optim.array import Array
from sweeper.optim.rules.rule import Move, Rule, Sizes, State


def coefficients(columns: Mapping[str, Array], lr: Array, t: Array) -> dict[str, Array]:
    beta1, beta2 = columns["beta1"], columns["beta2"]
    corrected = 1 - beta2**t
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / corrected
    is_rectified = length > 5
    above = np.where(is_rectified, length, 6.0)
    most = np.where(is_rectified, longest, 6.0)
    r = np.sqrt((above - 4) * (above - 2) * most / ((most - 4) * (most - 2) * above))
    unbiased = 1 / np.sqrt(corrected)
    step_size = lr / (1 - beta1**t)
    return {
        "lr": lr,
        "plain": np.where(is_rectified, 0.0, step_size),
        "rectified": np.where(is_rectified, step_size * r, 0.0),
        "unbiased": unbiased,
        "beta1_left": 1 - beta1,
        "beta2": beta2,
        "beta2_left": 1 - beta2,
        "eps": columns["eps"] * unbiased,
    }


def root(state: State, c: State) -> Tensor:
    return torch.sqrt(state["exp_avg_sq"]) * c["unbiased"]


def update(theta: Tensor, grad: Tensor, state: State, c: State, sizes: Sizes) -> Move:
    del theta, sizes
    first, second = state["exp_avg"], state["exp_avg_sq"]
    first = first + c["beta1_left"] * (grad - first)
    second = c["beta2"] * second + c["beta2_left"] * grad * grad
    after = {"exp_avg": first, "exp_avg_sq": second}
    second_root = root(after, c)
    divisor = second_root + c["eps"]
    # With eps 0 a coordinate without a gradient would give 0 * 0 / 0 where only `plain` counts.
    scaled = torch.where(c["rectified"] > 0, c["rectified"] * first / divisor, 0.0)
    change = c["plain"] * first + scaled
    return Move(change, after, second_root)


RULE = Rule(
    name="radam",
    states=("exp_avg", "exp_avg_sq"),
    columns=("beta1", "beta2", "eps"),
    coefficients=coefficients,
    update=update,
    cycled="beta1",
    root=root,
)
