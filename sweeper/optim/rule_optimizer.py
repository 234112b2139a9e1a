"""Any update rule as a torch.optim.Optimizer: for what torch.optim doesn't have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweeper.optim.arena import extras_of
from sweeper.optim.catalog import OPTIMIZERS
from sweeper.optim.configuration import Configuration
from sweeper.optim.rules import RULES
from sweeper.optim.rules.rule import Rule

# Of a group beside what the rule reads.
_DECAY = "weight_decay"


class RuleOptimizer(torch.optim.Optimizer):
    """One row of a pack, as an optimizer over ordinary parameters.

    All groups share every setting but weight_decay; parameters without a gradient are left out of
    a step. What a rule averages over a whole model (Adai's second moment) is averaged over all
    parameters that have made the same number of steps.

    Args:
        params: parameters, or groups of them with a weight_decay of their own.
        configuration: its schedule and its clipping don't matter here.
    """

    def __init__(
        self, params: Iterable[Tensor] | Iterable[dict[str, Any]], configuration: Configuration
    ) -> None:
        values: dict[str, Any] = dict(configuration.values)
        self._betas = OPTIMIZERS[configuration.optimizer].betas
        if len(self._betas) == 2:  # as schedulers expect it
            values["betas"] = tuple(values.pop(key) for key in self._betas)
        self._rule: Rule = RULES[configuration.rule]
        self._is_decoupled = configuration.is_decoupled
        self._states = self._rule.state_names(extras_of([configuration]))
        super().__init__(params, values)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns what the closure returned, if there is one.

        Raises:
            ValueError: groups that differ in more than their weight decay.
            RuntimeError: a sparse gradient.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._check_groups()
        for made, members in self._by_steps().items():
            self._move(members, made + 1)
        return loss

    def _check_groups(self) -> None:
        first = self.param_groups[0]
        for group in self.param_groups[1:]:
            differing = [
                key for key in self.defaults if key != _DECAY and group[key] != first[key]
            ]
            if differing:
                raise ValueError(
                    f"groups differ in {', '.join(differing)}; only weight_decay may differ"
                )

    def _by_steps(self) -> dict[int, list[tuple[Tensor, float]]]:
        """Parameters with a gradient and their weight decay, by the steps that they have made."""
        found: dict[int, list[tuple[Tensor, float]]] = {}
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.grad.is_sparse:
                    raise RuntimeError(f"{self._rule.name} takes no sparse gradients")
                made = int(self.state[parameter].get("step", 0))
                found.setdefault(made, []).append((parameter, float(group[_DECAY])))
        return found

    def _move(self, members: list[tuple[Tensor, float]], t: int) -> None:
        """Step `t` of some parameters, as one row `[1, P]`."""
        parameters = [parameter for parameter, _ in members]
        sizes = tuple(parameter.numel() for parameter in parameters)
        theta = _row(parameters)
        grad = _row([p.grad for p in parameters if p.grad is not None])
        decay = torch.cat([theta.new_full((1, p.numel()), value) for p, value in members], dim=1)
        state = {name: self._gathered(name, parameters) for name in self._states}
        state |= {name: self._scalar(name, parameters, theta) for name in self._rule.scalars}
        c = self._coefficients(t, theta)
        if not self._is_decoupled:
            grad = grad + decay * theta
        move = self._rule.update(theta, grad, state, c, sizes)
        change = move.change
        if self._is_decoupled:
            lr = float(self.param_groups[0]["lr"])
            change = (
                change + lr * (1.0 if move.lr_share is None else move.lr_share) * decay * theta
            )
        for parameter, part in zip(parameters, (theta - change).split(sizes, dim=1), strict=True):
            parameter.copy_(part.view_as(parameter))
            self.state[parameter]["step"] = torch.tensor(float(t))
        for name in self._states:
            parts = move.state[name].split(sizes, dim=1)
            for parameter, part in zip(parameters, parts, strict=True):
                self.state[parameter][name] = part.reshape(parameter.shape).clone()
        for name in self._rule.scalars:
            for parameter in parameters:
                self.state[parameter][name] = move.state[name][0, 0].clone()

    def _coefficients(self, t: int, theta: Tensor) -> dict[str, Tensor]:
        group = self.param_groups[0]
        given = {**group, **dict(zip(self._betas, group.get("betas", ()), strict=False))}
        columns = {name: np.full(1, float(given[name])) for name in self._rule.columns}
        lr, number = np.full((1, 1), float(group["lr"])), np.full((1, 1), float(t))
        with np.errstate(all="ignore"):
            found = self._rule.coefficients(columns, lr, number)
        return {name: theta.new_full((1, 1), float(found[name].item())) for name in found}

    def _gathered(self, name: str, parameters: list[Tensor]) -> Tensor:
        kept = [self.state[p].get(name) for p in parameters]
        return _row(
            [torch.zeros_like(p) if own is None else own for p, own in zip(parameters, kept)]
        )

    def _scalar(self, name: str, parameters: list[Tensor], theta: Tensor) -> Tensor:
        own = self.state[parameters[0]].get(name)
        return theta.new_zeros(1, 1) if own is None else own.to(theta).reshape(1, 1)


def _row(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(1, -1) for tensor in tensors], dim=1)
