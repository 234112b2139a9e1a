"""SGD with momentum, dampening and Nesterov's form, as torch.optim.SGD.

buf = momentum buf + (1 - dampening) g, and buf = g at the first step; theta -= lr buf, or with
Nesterov lr (g + momentum buf). lr stands outside the buffer (Sutskever et al. 2013 put it inside;
the two differ under a schedule).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sweeper.optim.array import Array
from sweeper.optim.rules.rule import Move, Rule, Sizes, State


def coefficients(columns: Mapping[str, Array], lr: Array, t: Array) -> dict[str, Array]:
    return {
        "lr": lr,
        "momentum": columns["momentum"],
        "undamped": np.where(t == 1, 1.0, 1 - columns["dampening"]),
        "nesterov": columns["nesterov"],
    }


def update(theta: Tensor, grad: Tensor, state: State, c: State, sizes: Sizes) -> Move:
    del theta, sizes
    buffer = c["momentum"] * state["momentum_buffer"] + c["undamped"] * grad
    # Without momentum torch has no buffer, and dampening no effect.
    plain = torch.where(c["momentum"] > 0, buffer, grad)
    direction = torch.where(c["nesterov"] > 0, grad + c["momentum"] * buffer, plain)
    return Move(c["lr"] * direction, {"momentum_buffer": buffer})


RULE = Rule(
    name="sgd",
    states=("momentum_buffer",),
    columns=("momentum", "dampening", "nesterov"),
    coefficients=coefficients,
    update=update,
    cycled="momentum",
)
