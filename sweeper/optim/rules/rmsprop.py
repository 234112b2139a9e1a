"""RMSprop (Hinton's lecture 6e; centered: Graves 2013, 1308.0850), as torch.optim.RMSprop.

v = alpha v + (1 - alpha) g^2, without bias correction; eps outside the root; buf = momentum buf +
g / (sqrt(v) + eps), lr outside the buffer.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sweeper.optim.array import Array
from sweeper.optim.rules.rule import Move, Rule, Sizes, State


def coefficients(columns: Mapping[str, Array], lr: Array, t: Array) -> dict[str, Array]:
    del t
    return {
        "lr": lr,
        "alpha": columns["alpha"],
        "alpha_left": 1 - columns["alpha"],
        "momentum": columns["momentum"],
        "centered": columns["centered"],
        "eps": columns["eps"],
    }


def update(theta: Tensor, grad: Tensor, state: State, c: State, sizes: Sizes) -> Move:
    del theta, sizes
    second = c["alpha"] * state["square_avg"] + c["alpha_left"] * grad * grad
    after = {"square_avg": second}
    variance = second
    if "grad_avg" in state:
        mean = state["grad_avg"] + c["alpha_left"] * (grad - state["grad_avg"])
        # Rounding may bring the variance below zero, where torch gives NaN.
        variance = torch.clamp(second - c["centered"] * mean * mean, min=0)
        after["grad_avg"] = mean
    root = torch.sqrt(variance)
    buffer = c["momentum"] * state["momentum_buffer"] + grad / (root + c["eps"])
    after["momentum_buffer"] = buffer
    return Move(c["lr"] * buffer, after, root)


RULE = Rule(
    name="rmsprop",
    states=("square_avg", "momentum_buffer"),
    extras={"centered": "grad_avg"},
    columns=("alpha", "eps", "momentum", "centered"),
    coefficients=coefficients,
    update=update,
    cycled="momentum",
)
