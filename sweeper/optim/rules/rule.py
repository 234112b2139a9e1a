"""What an update rule is: coefficients per row and step, and one pure pass over `[K, P]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from sweeper.optim.array import Array

State = Mapping[str, Tensor]


class Move(NamedTuple):
    """What one step does.

    Args:
        change: `[K, P]`, what is subtracted from theta, decoupled weight decay left out.
        state: the state after the step, named as before.
        lr: `[K, 1]` or `[K, P]`, learning rate that decoupled weight decay goes with.
        root: `[K, P]`, square root of the second moment that the gradient was divided by, without
            eps; None for rules that divide by nothing.
    """

    change: Tensor
    state: dict[str, Tensor]
    lr: Tensor
    root: Tensor | None = None


class Coefficients(Protocol):
    """What a step needs of every row, float64, folded from hyperparameters, lr and step.

    Bias corrections in the dtype of the run would drift over long horizons.
    """

    def __call__(self, columns: Mapping[str, Array], lr: Array, t: Array) -> dict[str, Array]:
        """
        Args:
            columns: `[K]` each, the hyperparameters; what a schedule cycles is `[steps, K]`.
            lr: `[steps, K]`.
            t: `[steps, K]`, number of the step from 1 on.

        Returns:
            `[K]` or `[steps, K]` each, by the names that `Update` reads; `lr` and `eps` among
            them where the rule has them.
        """
        ...


class Update(Protocol):
    """One step of every row; changes nothing."""

    def __call__(self, theta: Tensor, grad: Tensor, state: State, c: State, sizes: Sizes) -> Move:
        """
        Args:
            theta: `[K, P]` parameters.
            grad: `[K, P]`, clipped, with coupled weight decay.
            state: the rule's state.
            c: `[K, 1]` each, the coefficients in the dtype of theta.
            sizes: number of elements of every parameter tensor of the model, P together.
        """
        ...


Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """An update rule.

    Args:
        name: its name in the catalog.
        states: names of its state tensors, `[K, P]` each.
        scalars: names of its state tensors of one number a row, `[K, 1]` each.
        columns: its hyperparameters.
        coefficients, update: the two halves of a step. All state is zero at the start.
        cycled: the hyperparameter that cyclical schedules cycle against lr.
        averages: whether the update takes means over a row.
    """

    name: str
    columns: tuple[str, ...]
    coefficients: Coefficients
    update: Update
    states: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    cycled: str | None = None
    averages: bool = False

    @property
    def bytes_per_parameter(self) -> int:
        """Read and written by one step in float32: gradient, parameters and state."""
        return 4 * (1 + 2 + 2 * len(self.states))
