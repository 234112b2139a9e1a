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


def root(state: State, c: State) -> Tensor:
    variance = state["square_avg"]
    if "grad_avg" in state:
        # Rounding may bring the variance below zero, where torch gives NaN.
        mean = state["grad_avg"]
        variance = torch.clamp(variance - c["centered"] * mean * mean, min=0)
    return torch.sqrt(variance)


def update(theta: Tensor, grad: Tensor, state: State, c: State, sizes: Sizes) -> Move:
    del theta, sizes
    second = c["alpha"] * state["square_avg"] + c["alpha_left"] * grad * grad
    after = {"square_avg": second}
    if "grad_avg" in state:
        after["grad_avg"] = state["grad_avg"] + c["alpha_left"] * (grad - state["grad_avg"])
    divisor = root(after, c)
    buffer = c["momentum"] * state["momentum_buffer"] + grad / (divisor + c["eps"])
    after["momentum_buffer"] = buffer
    return Move(c["lr"] * buffer, after, divisor)


RULE = Rule(
    name="rmsprop",
    states=("square_avg", "momentum_buffer"),
    extras={"centered": "grad_avg"},
    columns=("alpha", "eps", "momentum", "centered"),
    coefficients=coefficients,
    update=update,
    cycled="momentum",
    root=root,
)
