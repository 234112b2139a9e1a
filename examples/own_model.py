"""Your own model in ten lines: any torch.nn.Module, a loss, data.

cd examples
sweeper validate --task own_model:build      # does it pack, and what does packing buy?
sweeper launch own_model.yaml
"""

import torch
from torch import nn

import sweeper


def build(width: int = 64) -> sweeper.Task:
    x = torch.linspace(-3, 3, 512)[:, None]
    return sweeper.Task(
        model=lambda: nn.Sequential(
            nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        ),
        loss=nn.functional.mse_loss,
        data=(x, torch.sin(3 * x)),
        batch_size=64,
    )
