"""One optimizer step of a whole pack: gradients, update and statistics for all rows, compiled.

New hyperparameter values, schedules and refills are values of tensors and never recompile. The
step has no host synchronisation. The same function runs uncompiled where there is no compiler.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from sweeper.optim import schedules
from sweeper.optim.arena import Arena

Gradient = Callable[..., tuple[Tensor, Tensor]]
"""(theta [K, P], *batch) -> (gradient [K, P], loss [K])."""
Step = Callable[..., Tensor]
"""(*batch) -> series [4, K], and the arena one step further."""


def make_step(arena: Arena, gradient: Gradient, *, compiled: bool) -> Step:
    """Bind a step to an arena.

    Args:
        arena: changed in place by every call.
        gradient: gradient and loss of every row.
        compiled: compile with torch.compile; the first call then takes seconds.

    Returns:
        A function of the batch that returns `[4, K]`: loss before the update, gradient L2 norm,
        RMS of the update, learning rate. Frozen rows return values that mean nothing.
    """
    rule = arena.rule

    def step(
        theta: Tensor,
        state: dict[str, Tensor],
        values: Tensor,
        made: Tensor,
        horizon: Tensor,
        *batch: Tensor,
    ) -> Tensor:
        columns = dict(zip(rule.all_columns, values.unbind(1), strict=True))
        is_live = made < horizon
        now = made.to(torch.float64)
        lr = columns["lr"] * schedules.factor(now, horizon.to(torch.float64), columns)
        lr = torch.where(is_live, lr, 0.0)
        grad, loss = gradient(theta, *batch)
        change = rule.update(theta, grad, state, columns, lr, now)
        made.add_(is_live.to(made.dtype))
        grad_norm = (grad * grad).sum(1).sqrt()
        update_rms = (change * change).mean(1).sqrt()
        return torch.stack([loss, grad_norm, update_rms, lr.to(theta.dtype)])

    if compiled:
        # Dynamo caches by code object and gives up after a few shapes: give every pack its own.
        step.__code__ = step.__code__.replace(co_name=f"step_{rule.name}_{arena.capacity}")
    run = torch.compile(step, dynamic=False, fullgraph=True) if compiled else step

    def bound(*batch: Tensor) -> Tensor:
        return run(arena.theta, arena.state, arena.values, arena.step, arena.horizon, *batch)

    return torch.no_grad()(bound)


def warm_up(device: torch.device) -> None:
    """Compile something small: loads the compiler's modules, which takes seconds, ahead of use."""
    torch.compile(lambda x: x + 1)(torch.zeros(8, device=device))


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile finds what it needs; warns once, with the cure, where it doesn't."""
    missing = missing_compiler(device)
    if missing:
        warnings.warn(
            f"{missing}: training uncompiled, several times slower, with the same results",
            RuntimeWarning,
            stacklevel=2,
        )
    return not missing


def missing_compiler(device: torch.device) -> str:
    """What torch.compile lacks on this machine, in words; empty when nothing."""
    if os.environ.get("TORCH_COMPILE_DISABLE") == "1":
        return "TORCH_COMPILE_DISABLE=1 is set"
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    if not any(shutil.which(name) for name in names):
        return f"no C++ compiler ({' or '.join(names)}) is on the PATH (install g++)"
    if device.type == "cuda" and not _has_triton():
        return "triton is not installed"
    return ""


def _has_triton() -> bool:
    from torch.utils._triton import has_triton

    return has_triton()
