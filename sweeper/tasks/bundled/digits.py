"""A small multi-layer perceptron on handwritten digits, in mini-batches, with held-out accuracy.

1797 images of 8 x 8 pixels from the UCI set "Optical Recognition of Handwritten Digits" as shipped
by scikit-learn; see digits.LICENSE. The last 360 are held out.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch
from torch import nn

from sweeper.tasks.bundled.arguments import check_int
from sweeper.tasks.task import Task

_HELD_OUT = 360


def build(hidden: int = 64, batch_size: int = 64) -> Task:
    """The task.

    Args:
        hidden: units of the hidden layer, 1 to 65536.
        batch_size: images per step, 1 to 1437.
    """
    check_int("hidden", hidden, 1, 65536)
    check_int("batch_size", batch_size, 1, 1437)
    images, labels = _load()
    held_out = (images[-_HELD_OUT:], labels[-_HELD_OUT:])

    def evaluate(model: nn.Module) -> dict[str, float]:
        parameter = next(model.parameters())
        inputs, targets = (tensor.to(parameter.device) for tensor in held_out)
        output = model(inputs.to(parameter.dtype))
        return {
            "held_out_accuracy": (output.argmax(1) == targets).double().mean().item(),
            "held_out_loss": nn.functional.cross_entropy(output, targets).item(),
        }

    return Task(
        model=lambda: nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10)),
        loss=nn.functional.cross_entropy,
        data=(images[:-_HELD_OUT], labels[:-_HELD_OUT]),
        batch_size=batch_size,
        evaluate=evaluate,
    )


def _load() -> tuple[torch.Tensor, torch.Tensor]:
    path = resources.files("sweeper.tasks.bundled") / "digits.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        images = torch.from_numpy(arrays["images"].astype(np.float32) / 16)
        labels = torch.from_numpy(arrays["labels"].astype(np.int64))
    return images, labels
