"""What a task says of a model on data that it was not trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.tasks.layout import Layout
from sweeper.tasks.task import Task


def metrics(task: Task, theta: Tensor) -> dict[str, float]:
    """`task.evaluate` of the model with parameters `theta` `[P]`; for models without buffers."""
    model = task.initial(0)
    parts = Layout.of(model).unflatten(theta)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(parts[name])
        assert task.evaluate is not None
        return dict(task.evaluate(model.eval()))
