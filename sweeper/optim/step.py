"""One optimizer step of a whole pack: gradients, clipping, update and statistics for all rows.

New hyperparameter values, schedules and refills are values of tensors and never recompile. The
step has no host synchronisation. The same functions run uncompiled where there is no compiler.

It is compiled in pieces, and sums over a row and changes in place are never in one: torch's
compiler (2.13, CPU) fails on some of their fusions. So every row runs through the same gradient,
whether its step is sampled or not.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from sweeper.optim.arena import Arena
from sweeper.optim.coefficients import names
from sweeper.optim.rules.rule import Move
from sweeper.optim.statistics import statistics

Gradient = Callable[..., tuple[Tensor, Tensor]]
"""(theta [K, P], *batch) -> (gradient [K, P], loss [K])."""
# torch.nn.utils.clip_grad_norm_ adds it to the norm.
_CLIP_EPS = 1e-6


class Step:
    """Bound to an arena, which every call changes in place.

    Args:
        arena: of the pack.
        gradient: gradient and loss of every row.
        compiled: compile with torch.compile; the first call of each kind then takes seconds.
    """

    def __init__(self, arena: Arena, gradient: Gradient, *, compiled: bool) -> None:
        self._arena = arena
        self._is_in_place = not arena.rule.averages
        move = _bind(arena)

        def backward(theta: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            grad, loss = gradient(theta, *batch)
            return grad, loss, (grad * grad).sum(1, keepdim=True).sqrt()

        def moved(*arguments: Any) -> tuple[Tensor, Tensor, Move]:
            return move(*arguments)

        def update(theta: Tensor, state: dict[str, Tensor], *rest: Tensor) -> None:
            after, _, found = move(theta, state, *rest)
            _take(theta, state, after, found.state)

        def update_sampled(
            theta: Tensor, state: dict[str, Tensor], *rest: Tensor
        ) -> tuple[Tensor, Tensor | None]:
            after, change, found = move(theta, state, *rest)
            _take(theta, state, after, found.state)
            return change, found.root

        self._backward = _compile(backward, arena, compiled=compiled)
        self._moved = _compile(moved, arena, compiled=compiled)
        self._update = _compile(update, arena, compiled=compiled)
        self._update_sampled = _compile(update_sampled, arena, compiled=compiled)
        self._statistics = _compile(statistics, arena, compiled=compiled)
        self._eps = names(arena.rule).index("eps") if "eps" in names(arena.rule) else None

    @torch.no_grad()
    def plain(self, coefficients: Tensor, *batch: Tensor) -> Tensor:
        """One step; returns the loss before the update, `[K]`.

        Args:
            coefficients: `[C, K]`, one row of the arena's table.
            batch: arguments of the gradient beside theta.
        """
        arena = self._arena
        grad, loss, norm = self._gradient(batch)
        if arena.previous is None and self._is_in_place:
            self._update(arena.theta, arena.state, grad, norm, coefficients)
        else:
            self._keep(self._change(grad, norm, coefficients)[0])
        return loss

    @torch.no_grad()
    def sampled(self, coefficients: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """One step with its statistics: loss `[K]`, and `[S, K]` in the order of their NAMES."""
        arena = self._arena
        grad, loss, norm = self._gradient(batch)
        change, root = self._change(grad, norm, coefficients)
        eps = None if self._eps is None else coefficients[self._eps][:, None]
        found = self._statistics(grad, norm, change, arena.theta, root, eps, arena.previous)
        self._keep(change)
        return loss, found

    def _gradient(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient `[K, P]`, loss `[K]` and L2 norm of the gradient `[K, 1]`."""
        found: tuple[Tensor, Tensor, Tensor] = self._backward(self._arena.theta, *batch)
        return found

    def _change(
        self, grad: Tensor, norm: Tensor, coefficients: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """The update; what was subtracted, and the square root of the second moment."""
        arena = self._arena
        if self._is_in_place:
            found: tuple[Tensor, Tensor | None] = self._update_sampled(
                arena.theta, arena.state, grad, norm, coefficients
            )
            return found
        after, change, move = self._moved(arena.theta, arena.state, grad, norm, coefficients)
        _take(arena.theta, arena.state, after, move.state)
        return change, move.root

    def _keep(self, change: Tensor) -> None:
        if self._arena.previous is not None:
            self._arena.previous.copy_(change)


def _bind(arena: Arena) -> Callable[..., tuple[Tensor, Tensor, Move]]:
    """The pure step of every row of an arena."""
    rule, mask, sizes, order = arena.rule, arena.decay_mask, arena.sizes, names(arena.rule)

    def move(
        theta: Tensor, state: dict[str, Tensor], grad: Tensor, norm: Tensor, coefficients: Tensor
    ) -> tuple[Tensor, Tensor, Move]:
        """Parameters after the step, what was subtracted from them, and the rule's own move."""
        c = {name: coefficients[i][:, None] for i, name in enumerate(order)}
        decayed = theta if mask is None else theta * mask
        found = rule.update(
            theta, _clipped(grad, norm, c) + c["coupled"] * decayed, state, c, sizes
        )
        change = found.change + found.lr * c["decoupled"] * decayed
        return theta - change, change, found

    return move


def _take(
    theta: Tensor, state: dict[str, Tensor], after: Tensor, state_after: dict[str, Tensor]
) -> None:
    """Put what a step gave in the place of what was there."""
    theta.copy_(after)
    for name, tensor in state.items():
        tensor.copy_(state_after[name])


def _clipped(grad: Tensor, norm: Tensor, c: dict[str, Tensor]) -> Tensor:
    """By norm (as torch.nn.utils.clip_grad_norm_) and by value; a limit may be infinite."""
    limit = c["clip_norm"]
    share = torch.where(limit < torch.inf, (limit / (norm + _CLIP_EPS)).clamp(max=1), 1.0)
    return torch.minimum(torch.maximum(grad * share, -c["clip_value"]), c["clip_value"])


def _compile(function: Any, arena: Arena, *, compiled: bool) -> Any:
    if not compiled:
        return function
    # Dynamo caches by code object and gives up after a few shapes: give every pack its own.
    name = f"{function.__name__}_{arena.rule.name}_{arena.capacity}"
    code = function.__code__.replace(co_name=name)
    own = FunctionType(code, function.__globals__, name, None, function.__closure__)
    return torch.compile(own, dynamic=False, fullgraph=True)
