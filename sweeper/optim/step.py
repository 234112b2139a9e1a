"""One optimizer step of a whole pack: gradients, clipping, update and statistics for all rows.

New hyperparameter values, schedules and refills are values of tensors and never recompile. The
step has no host synchronisation. The same functions run uncompiled where there is no compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from sweeper.optim.arena import Arena
from sweeper.optim.compiler import Traced
from sweeper.optim.native.adam import native_update
from sweeper.optim.update import TorchUpdate, Update

Gradient = Callable[..., tuple[Tensor, Tensor]]
"""(theta [K, P], *batch) -> (gradient [K, P], loss [K])."""


class Step:
    """Bound to an arena, which every call changes in place.

    Args:
        arena: of the pack.
        gradient: gradient and loss of every row.
        compiled: compile with torch.compile; the first call then takes seconds.
        traceable: whether the gradient can be compiled, too.
        native: update in C++ where there is a compiler and `compiled`, with the same results.
    """

    def __init__(
        self,
        arena: Arena,
        gradient: Gradient,
        *,
        compiled: bool,
        native: bool = True,
        traceable: bool = True,
    ) -> None:
        self._theta = arena.theta
        self._is_compiled = compiled
        self._made: set[str] = set()  # kinds of steps, whose functions then are compiled
        self._backward = Traced(gradient) if compiled and traceable else gradient
        update: Update | None = native_update(arena) if compiled and native else None
        self._update = update or TorchUpdate(arena, compiled=compiled)

    def hot(self, *kinds: str) -> AbstractContextManager[object]:
        """Within it compiled steps don't ask whether they were compiled for such tensors.

        They were: every pack has compiled functions of its own, and its tensors keep their shapes.
        Asking costs up to half of a small step. Where a kind of step has not been made yet, and
        has to be compiled, it does nothing.

        Args:
            kinds: of the steps to be made, `plain` and `sampled`.
        """
        if not self._is_compiled or not self._made.issuperset(kinds):
            return nullcontext()
        stance: AbstractContextManager[object] = torch.compiler.set_stance(
            skip_guard_eval_unsafe=True
        )
        return stance

    @torch.no_grad()
    def plain(self, coefficients: Tensor, *batch: Any, clips_norm: bool = True) -> Tensor:
        """One step; returns the loss before the update, `[K]`.

        Args:
            coefficients: `[C, K]`, one row of the arena's table.
            batch: arguments of the gradient beside theta.
            clips_norm: whether any row clips its gradient by norm; else the norm isn't made.
        """
        grad, loss = self._gradient(batch)
        self._update.plain(grad, coefficients, clips_norm=clips_norm)
        self._made.add("plain")
        return loss

    @torch.no_grad()
    def sampled(self, coefficients: Tensor, *batch: Any) -> tuple[Tensor, Tensor]:
        """One step with its statistics: loss `[K]`, and `[S, K]` in the order of their NAMES."""
        grad, loss = self._gradient(batch)
        found = self._update.sampled(grad, coefficients)
        self._made.add("sampled")
        return loss, found

    def _gradient(self, batch: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self._backward(self._theta, *batch)
        return found
