"""Adagrad (Duchi, Hazan & Singer 2011), as torch.optim.Adagrad.

The sum of squares is kept without its initial value, which is added where it is read.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sweeper.optim.array import Array
from sweeper.optim.rules.rule import Move, Rule, Sizes, State


def coefficients(columns: Mapping[str, Array], lr: Array, t: Array) -> dict[str, Array]:
    return {
        "lr": lr,
        "step_size": lr / (1 + (t - 1) * columns["lr_decay"]),
        "initial": columns["initial_accumulator_value"],
        "eps": columns["eps"],
    }


def root(state: State, c: State) -> Tensor:
    return torch.sqrt(state["sum"] + c["initial"])


def update(theta: Tensor, grad: Tensor, state: State, c: State, sizes: Sizes) -> Move:
    del theta, sizes
    after = {"sum": state["sum"] + grad * grad}
    divisor = root(after, c)
    change = c["step_size"] * (grad / (divisor + c["eps"]))
    return Move(change, after, divisor)


RULE = Rule(
    name="adagrad",
    states=("sum",),
    columns=("lr_decay", "eps", "initial_accumulator_value"),
    coefficients=coefficients,
    update=update,
    root=root,
)
