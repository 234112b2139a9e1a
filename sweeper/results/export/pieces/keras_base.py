"""What the optimizers have in common that Keras doesn't have."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class Rule(keras.optimizers.Optimizer):
    """An optimizer given by its settings, its state and its step on one variable.

    Args:
        settings: of the rule.
        l2: weight decay added to the gradient; `weight_decay` of Keras is decoupled.
    """

    states: tuple[str, ...] = ()

    def __init__(
        self, learning_rate: Any, settings: dict[str, Any], l2: float = 0.0, **others: Any
    ) -> None:
        super().__init__(learning_rate=learning_rate, **others)
        self.settings, self.l2 = settings, l2

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.kept = [self.add_optimizer_variables(variables, name) for name in self.states]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = ops.cast(gradient, variable.dtype)
        if self.l2 and self._use_weight_decay(variable):
            gradient = gradient + self.l2 * variable
        index = self._get_variable_index(variable)
        state = [tensors[index] for tensors in self.kept]
        t = ops.cast(self.iterations + 1, variable.dtype)
        lr = ops.cast(learning_rate, variable.dtype)
        self.move(variable, gradient, state, t, lr, **self.settings)

    def move(
        self, variable: Any, g: Any, state: list[Any], t: Any, lr: Any, **settings: Any
    ) -> None:
        """Update the variable and its state; t is 1 at the first step."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return {**config, "settings": self.settings, "l2": self.l2}
