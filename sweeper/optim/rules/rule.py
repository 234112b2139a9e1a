"""What an update rule is: coefficients per row and step, and one pure pass over `[K, P]`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from torch import Tensor

from sweeper.optim.array import Array

State = Mapping[str, Tensor]


class Move(NamedTuple):
    """What one step does.

    Args:
        change: `[K, P]`, what is subtracted from theta, decoupled weight decay left out.
        state: the state after the step, named as before.
        root: `[K, P]`, square root of the second moment that the gradient was divided by, without
            eps; None for rules that divide by nothing.
        lr_share: `[K, P]`, what the rule multiplies lr by, and so its decoupled weight decay; None
            for 1.
    """

    change: Tensor
    state: dict[str, Tensor]
    root: Tensor | None = None
    lr_share: Tensor | None = None


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


class Root(Protocol):
    """Square root of the second moment that a step divides by."""

    def __call__(self, state: State, c: State) -> Tensor:
        """
        Args:
            state: the rule's state after the step.
            c: `[K, 1]` each, the coefficients of that step in the dtype of the state.

        Returns:
            `[K, P]`, with its bias correction, without eps.
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
        extras: state tensors `[K, P]` that a hyperparameter needs, by its name: a pack none of
            whose runs set it has no such state.
        scalars: names of its state tensors of one number a row, `[K, 1]` each.
        columns: its hyperparameters.
        coefficients, update: the two halves of a step. All state is zero at the start.
        cycled: the hyperparameter that cyclical schedules cycle against lr.
        averages: whether the update takes means over a row.
        root: of a step that was made, by what it left; None for rules that divide by nothing.
            eps is then among the coefficients.
    """

    name: str
    columns: tuple[str, ...]
    coefficients: Coefficients
    update: Update
    states: tuple[str, ...] = ()
    extras: Mapping[str, str] = field(default_factory=dict)
    scalars: tuple[str, ...] = ()
    cycled: str | None = None
    averages: bool = False
    root: Root | None = None

    def state_names(self, extras: Collection[str]) -> tuple[str, ...]:
        """Its state tensors `[K, P]` where these hyperparameters may be set."""
        return (*self.states, *(own for name, own in self.extras.items() if name in extras))

    def bytes_per_parameter(self, extras: Collection[str] = ()) -> int:
        """Read and written by one step in float32: gradient, parameters and state."""
        return 4 * (1 + 2 + 2 * len(self.state_names(extras)))
