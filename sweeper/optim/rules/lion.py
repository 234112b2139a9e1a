"""Lion (Chen et al. 2023, 2302.06675, Algorithm 2): the sign of an interpolated momentum."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sweeper.optim.array import Array
from sweeper.optim.rules.rule import Move, Rule, Sizes, State


def coefficients(columns: Mapping[str, Array], lr: Array, t: Array) -> dict[str, Array]:
    del t
    return {"lr": lr, "beta1_left": 1 - columns["beta1"], "beta2_left": 1 - columns["beta2"]}


def update(theta: Tensor, grad: Tensor, state: State, c: State, sizes: Sizes) -> Move:
    del theta, sizes
    momentum = state["exp_avg"]
    direction = torch.sign(momentum + c["beta1_left"] * (grad - momentum))
    after = momentum + c["beta2_left"] * (grad - momentum)
    return Move(c["lr"] * direction, {"exp_avg": after})


RULE = Rule(
    name="lion",
    states=("exp_avg",),
    columns=("beta1", "beta2"),
    coefficients=coefficients,
    update=update,
    cycled="beta1",
)
