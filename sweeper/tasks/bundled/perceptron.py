"""The perceptron of "Strange behavior with Adam optimizer when training for too long".

Data Science Stack Exchange question 25024 (2017): 1000 inputs, one output, 64 random points, sum
of squared errors, full batch, Adam with its defaults. The loss falls to 1e-12 and, thousands of
steps later, climbs back to 1e-3. data_seed 0 and run seed 0 are the question's very numbers.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from sweeper.tasks.bundled.arguments import check_int
from sweeper.tasks.task import Task

_QUESTION_SEED = 545345
_INPUTS, _POINTS = 1000, 64


def build(data_seed: int = 0) -> Task:
    """The task.

    Args:
        data_seed: 0 for the data of the question; any other int >= 0 for fresh data of its kind.
    """
    check_int("data_seed", data_seed, 0)
    stream = _Stream([_QUESTION_SEED + data_seed])
    inputs = stream.normal(_POINTS * _INPUTS).reshape(_POINTS, _INPUTS)
    targets = stream.normal(_POINTS).reshape(_POINTS, 1)
    parameters = stream.uniform(_INPUTS + 1)

    def init(seed: int) -> dict[str, Tensor]:
        # Seed 0 goes on in the stream of the data, as the script of the question did.
        uniform = parameters
        if seed != 0:
            uniform = _Stream([_QUESTION_SEED + data_seed, seed]).uniform(_INPUTS + 1)
        bound = 1 / math.sqrt(_INPUTS)
        scaled = torch.from_numpy((uniform * 2 * bound - bound).astype(np.float32))
        return {"weight": scaled[:_INPUTS].reshape(1, _INPUTS), "bias": scaled[_INPUTS:]}

    return Task(
        model=lambda: nn.Linear(_INPUTS, 1),
        loss=lambda output, target: ((output - target) ** 2).sum(),
        data=(
            torch.from_numpy(inputs.astype(np.float32)),
            torch.from_numpy(targets.astype(np.float32)),
        ),
        init=init,
        packed_loss=_packed_loss,
        # The residual, not the loss, is rounded: its square reaches eps^2.
        floor=lambda eps, first: eps**2 * first,
    )


def _packed_loss(parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
    weight, bias = parameters["weight"], parameters["bias"]  # [K, 1, 1000], [K, 1]
    residual = inputs @ weight[:, 0].t() + bias[:, 0] - targets  # [64, K]
    return (residual * residual).sum(0)


class _Stream:
    """The random numbers of torch 0.2 on the CPU: MT19937, Box-Muller in pairs, in float64."""

    def __init__(self, seed: list[int]) -> None:
        # MT19937's own seeding by a number is what the question's script used.
        state = np.random.RandomState(seed[0] if len(seed) == 1 else seed)
        self._state = state

    def uniform(self, size: int) -> np.ndarray:
        """`size` values in [0, 1) from one 32-bit word each."""
        words = self._state.randint(0, 2**32, size=size, dtype=np.uint32)
        return words.astype(np.float64) * 2.0**-32

    def normal(self, size: int) -> np.ndarray:
        """`size` standard normal values (even)."""
        pairs = self.uniform(size).reshape(-1, 2)
        radius = np.sqrt(-2 * np.log1p(-pairs[:, 1]))
        angle = 2 * math.pi * pairs[:, 0]
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
