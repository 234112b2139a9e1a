"""The fused core: K configurations are rows of one tensor. Needs torch (and its NumPy) alone.

`make_optimizer` gives an ordinary optimizer and scheduler for a loop of one's own; `Arena` and
`Step` train K rows at once. Importing this package doesn't load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.optim.arena import Arena as Arena
    from sweeper.optim.own_loop import make_optimizer as make_optimizer
    from sweeper.optim.step import Step as Step

__all__ = ["Arena", "Step", "make_optimizer"]

_HOMES = {
    "Arena": "sweeper.optim.arena",
    "Step": "sweeper.optim.step",
    "make_optimizer": "sweeper.optim.own_loop",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'sweeper.optim' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
