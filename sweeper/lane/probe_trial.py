"""Whether a task has Hessian products, tried near its initial model before any run is probed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sweeper.lane.memory import is_lack_of_memory
from sweeper.optim.step import Gradient
from sweeper.stability.hessian import linearised
from sweeper.tasks.forward import Forward
from sweeper.tasks.parts import Part

# How far a product may be from that of a model alone, of its largest element.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 5e-3}
# A product of rounding errors is that much smaller than the gradient.
_NOTHING = 1e-3


def trouble(
    gradient: Gradient,
    theta: Tensor,
    own: Sequence[Tensor],
    alone: tuple[Forward, tuple[Part, Part]] | None,
) -> str | None:
    """Why there are none, in words: some kernels have no second derivative, or a wrong one.

    Args:
        gradient: of theta, weight decay and own tensors.
        theta, own: of equal rows.
        alone: the forward of one model and the data of the gradient, for comparison.
    """
    waves = torch.arange(theta.shape[1], device=theta.device, dtype=theta.dtype)
    vectors = waves.cos().expand_as(theta)
    # Initial values may be special: a scale of one and a shift of zero hide what is missing.
    theta = theta + 0.1 * theta.square().mean().sqrt() * waves.sin()
    try:
        slope, product = linearised(gradient, theta, torch.zeros_like(theta), *own)
        found = product(vectors)[0]
    except RuntimeError as error:
        if is_lack_of_memory(error):
            raise
        return f"the model can't be differentiated twice: {str(error).splitlines()[0]}"
    if alone is None:
        return None
    try:
        right = _alone(*alone, theta[0], [one[0] for one in own], vectors[0])
    except RuntimeError as error:
        if is_lack_of_memory(error):
            raise
        return None  # then only the pack has second derivatives
    size = torch.maximum(right.abs().max(), _NOTHING * slope[0].abs().max()).clamp_min(1e-30)
    gap = float((found - right).abs().max() / size)
    if gap > _TOLERANCE[theta.dtype]:
        return f"packed, the second derivative of the model differs by {gap:.1g} of its size"
    return None


def _alone(
    forward: Forward,
    data: tuple[Part, Part],
    row: Tensor,
    own: Sequence[Tensor],
    vector: Tensor,
) -> Tensor:
    """Hessian of one model times a vector, `[P]`, by plain autograd."""
    leaf = row.detach().clone().requires_grad_()
    named = dict(zip(forward.form.own, own, strict=True))
    key = torch.zeros((), dtype=torch.int64, device=row.device)
    with torch.enable_grad():
        loss, _ = forward(leaf, named, *data, key)
        slope = torch.autograd.grad(loss, leaf, create_graph=True)[0]
        if not slope.requires_grad:
            return torch.zeros_like(row)
        image: Tensor | None = torch.autograd.grad(slope, leaf, vector, allow_unused=True)[0]
    return torch.zeros_like(row) if image is None else image
