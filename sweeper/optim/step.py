"""One optimizer step of a whole pack: gradients, clipping, update and statistics for all rows.

New hyperparameter values, schedules and refills are values of tensors and never recompile. The
step has no host synchronisation. The same functions run uncompiled where there is no compiler.

It is compiled in pieces, and sums over a row and changes in place are never in one: torch's
compiler (2.13, CPU) fails on some of their fusions. So every row runs through the same gradient,
whether its step is sampled or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sweeper.optim.arena import Arena
from sweeper.optim.coefficients import names
from sweeper.optim.compiler import compile_own
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

        def backward(theta: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
            return gradient(theta, *batch)

        limit_at = names(arena.rule).index("clip_norm")

        def norm(grad: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
            found = (grad * grad).sum(1, keepdim=True).sqrt()
            return found, _clip_share(found, coefficients[limit_at][:, None])

        def update(theta: Tensor, state: dict[str, Tensor], *rest: Tensor) -> None:
            after, _, found = move(theta, state, *rest)
            _take(theta, state, after, found.state)

        def update_sampled(
            change_out: Tensor,
            root_out: Tensor | None,
            theta: Tensor,
            state: dict[str, Tensor],
            *rest: Tensor,
        ) -> None:
            after, change, found = move(theta, state, *rest)
            _take(theta, state, after, found.state)
            change_out.copy_(change)
            if root_out is not None and found.root is not None:
                root_out.copy_(found.root)

        self._backward = _compile(backward, arena, compiled=compiled)
        self._norm = _compile(norm, arena, compiled=compiled)
        self._move = _compile(move, arena, compiled=compiled)
        self._update = _compile(update, arena, compiled=compiled)
        self._update_sampled = _compile(update_sampled, arena, compiled=compiled)
        self._statistics = _compile(statistics, arena, compiled=compiled)
        self._unclipped = torch.ones_like(arena.theta[:, :1])
        self._eps = names(arena.rule).index("eps") if "eps" in names(arena.rule) else None
        # Of sampled steps: large tensors that come and go cost more than the pass itself.
        self._change_out = torch.empty_like(arena.theta)
        self._root_out = None if self._eps is None else torch.empty_like(arena.theta)

    @torch.no_grad()
    def plain(self, coefficients: Tensor, *batch: Tensor, clips_norm: bool = True) -> Tensor:
        """One step; returns the loss before the update, `[K]`.

        Args:
            coefficients: `[C, K]`, one row of the arena's table.
            batch: arguments of the gradient beside theta.
            clips_norm: whether any row clips its gradient by norm; else the norm isn't made.
        """
        arena = self._arena
        grad, loss = self._gradient(batch)
        share = self._norm(grad, coefficients)[1] if clips_norm else self._unclipped
        if arena.previous is None and self._is_in_place:
            self._update(arena.theta, arena.state, grad, share, coefficients)
        else:
            self._keep(self._change(grad, share, coefficients)[0])
        return loss

    @torch.no_grad()
    def sampled(self, coefficients: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """One step with its statistics: loss `[K]`, and `[S, K]` in the order of their NAMES."""
        arena = self._arena
        grad, loss = self._gradient(batch)
        norm, share = self._norm(grad, coefficients)
        change, root = self._change(grad, share, coefficients)
        eps = None if self._eps is None else coefficients[self._eps][:, None]
        found = self._statistics(grad, norm, change, arena.theta, root, eps, arena.previous)
        self._keep(change)
        return loss, found

    def _gradient(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Gradient `[K, P]` and loss `[K]`."""
        found: tuple[Tensor, Tensor] = self._backward(self._arena.theta, *batch)
        return found

    def _change(
        self, grad: Tensor, share: Tensor, coefficients: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """The update; what was subtracted, and the square root of the second moment."""
        arena = self._arena
        if self._is_in_place:
            out = self._change_out, self._root_out
            self._update_sampled(*out, arena.theta, arena.state, grad, share, coefficients)
            return out
        after, change, move = self._move(arena.theta, arena.state, grad, share, coefficients)
        _take(arena.theta, arena.state, after, move.state)
        return change, move.root

    def _keep(self, change: Tensor) -> None:
        if self._arena.previous is not None:
            self._arena.previous.copy_(change)


def _bind(arena: Arena) -> Callable[..., tuple[Tensor, Tensor, Move]]:
    """The pure step of every row of an arena."""
    rule, mask, sizes, order = arena.rule, arena.decay_mask, arena.sizes, names(arena.rule)

    def move(
        theta: Tensor, state: dict[str, Tensor], grad: Tensor, share: Tensor, coefficients: Tensor
    ) -> tuple[Tensor, Tensor, Move]:
        """Parameters after the step, what was subtracted from them, and the rule's own move."""
        c = {name: coefficients[i][:, None] for i, name in enumerate(order)}
        decayed = theta if mask is None else theta * mask
        found = rule.update(
            theta, _clipped(grad, share, c) + c["coupled"] * decayed, state, c, sizes
        )
        decay = c["decay"] if found.lr_share is None else c["decay"] * found.lr_share
        change = found.change + decay * decayed
        return theta - change, change, found

    return move


def _take(
    theta: Tensor, state: dict[str, Tensor], after: Tensor, state_after: dict[str, Tensor]
) -> None:
    """Put what a step gave in the place of what was there."""
    theta.copy_(after)
    for name, tensor in state.items():
        tensor.copy_(state_after[name])


def _clip_share(norm: Tensor, limit: Tensor) -> Tensor:
    """What a gradient is multiplied by, as in torch.nn.utils.clip_grad_norm_."""
    return torch.where(limit < torch.inf, (limit / (norm + _CLIP_EPS)).clamp(max=1), 1.0)


def _clipped(grad: Tensor, share: Tensor, c: dict[str, Tensor]) -> Tensor:
    """By norm and by value; limits may be infinite."""
    return torch.minimum(torch.maximum(grad * share, -c["clip_value"]), c["clip_value"])


def _compile(function: Any, arena: Arena, *, compiled: bool) -> Any:
    if not compiled:
        return function
    return compile_own(function, f"{function.__name__}_{arena.rule.name}_{arena.capacity}")
