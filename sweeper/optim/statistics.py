"""What a step says of every row beside its loss: statistics of gradient, update and state.

Chosen for what precedes late instability; see the reference of each. All are `[K]`.
"""

from __future__ import annotations

import torch
from torch import Tensor

# In this order. What a rule doesn't have is NaN.
NAMES = (
    "grad_norm",  # L2 norm of the gradient, before clipping
    "update_rms",  # root of the mean square of the update, weight decay included
    "param_norm",  # L2 norm of the parameters after the step
    "eps_dominance",  # share of coordinates with sqrt(vhat) < eps (Wortsman et al. 2023)
    "grad_surprise",  # RMS of g / max(sqrt(vhat), eps): above 1, v lags behind (the same)
    "update_cosine",  # cosine of the angle between this update and the one before
)


def statistics(
    grad: Tensor,
    norm: Tensor,
    change: Tensor,
    theta: Tensor,
    root: Tensor | None,
    eps: Tensor | None,
    previous: Tensor | None,
) -> Tensor:
    """The statistics of one step, `[S, K]` in the order of NAMES.

    Args:
        grad: `[K, P]`, before clipping and weight decay.
        norm: `[K, 1]`, its L2 norm.
        change: `[K, P]`, what was subtracted.
        theta: `[K, P]`, after the step.
        root: `[K, P]`, square root of the second moment; None where the rule has none.
        eps: `[K, 1]`, added to it.
        previous: `[K, P]`, the change before; None where it is not kept.
    """
    nothing = torch.full_like(theta[:, 0], torch.nan)
    dominance = surprise = cosine = nothing
    squares = (change * change).sum(1)
    if root is not None and eps is not None:
        dominance = (root < eps).to(theta.dtype).mean(1)
        smallest = torch.finfo(theta.dtype).tiny
        ratio = grad / torch.maximum(root, eps).clamp(min=smallest)
        surprise = (ratio * ratio).mean(1).sqrt()
    if previous is not None:
        lengths = squares.sqrt() * (previous * previous).sum(1).sqrt()
        cosine = (change * previous).sum(1) / lengths
    return torch.stack(
        [
            norm[:, 0],
            (squares / theta.shape[1]).sqrt(),
            (theta * theta).sum(1).sqrt(),
            dominance,
            surprise,
            cosine,
        ]
    )
