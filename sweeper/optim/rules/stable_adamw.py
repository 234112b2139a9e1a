"""StableAdamW (Wortsman et al. 2023, 2304.13013, Algorithm 2): AdamW with Adafactor's clipping.

Bias correction is folded into the averages: beta_t = beta (1 - beta^(t-1)) / (1 - beta^t). The
learning rate of every parameter tensor is divided by max(1, RMS_t), where RMS_t is the root of the
mean of g^2 / max(v, eps^2); its decoupled weight decay goes with the divided rate.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sweeper.optim.array import Array
from sweeper.optim.rules.rule import Move, Rule, Sizes, State


def coefficients(columns: Mapping[str, Array], lr: Array, t: Array) -> dict[str, Array]:
    beta1, beta2 = columns["beta1"], columns["beta2"]
    return {
        "lr": lr,
        # 1 - beta_t, without the cancellation of a difference
        "beta1_left": (1 - beta1) / (1 - beta1**t),
        "beta2_left": (1 - beta2) / (1 - beta2**t),
        "eps": columns["eps"],
    }


def root(state: State, c: State) -> Tensor:
    del c  # the average is unbiased itself
    return torch.sqrt(state["exp_avg_sq"])


def update(theta: Tensor, grad: Tensor, state: State, c: State, sizes: Sizes) -> Move:
    del theta
    first, second = state["exp_avg"], state["exp_avg_sq"]
    first = first + c["beta1_left"] * (grad - first)
    second = (1 - c["beta2_left"]) * second + c["beta2_left"] * grad * grad
    smallest = torch.clamp(c["eps"] * c["eps"], min=torch.finfo(grad.dtype).tiny)
    surprise = grad * grad / torch.maximum(second, smallest)
    rms = torch.cat(
        [
            part.mean(1, keepdim=True).sqrt().expand(-1, size)
            for part, size in zip(surprise.split(sizes, dim=1), sizes, strict=True)
        ],
        dim=1,
    )
    lr_share = 1 / rms.clamp(min=1)
    after = {"exp_avg": first, "exp_avg_sq": second}
    divisor = root(after, c)
    change = c["lr"] * lr_share * first / (divisor + c["eps"])
    return Move(change, after, divisor, lr_share)


RULE = Rule(
    name="stable_adamw",
    states=("exp_avg", "exp_avg_sq"),
    columns=("beta1", "beta2", "eps"),
    coefficients=coefficients,
    update=update,
    averages=True,
    cycled="beta1",
    root=root,
)
