"""Why a loss isn't finite, where lr is not to blame: data with gaps, a model that overflows."""

from __future__ import annotations

import torch

from sweeper.tasks.parts import Part, tensors
from sweeper.tasks.task import Task


def defect(task: Task, seed: int, step: int) -> str | None:
    """What is wrong with the data or the model; None where the learning rate is to blame.

    Args:
        seed, step: of the first loss that isn't finite. With the batch of that step the loss is
            computed again, of an untrained model.
    """
    if task.in_memory:
        inputs, targets = task.data
        found = _gaps(inputs, targets, "of all")
    else:
        found = _gaps(*task.batch(seed, step), f"of the batch of step {step}")
    if found is not None:
        return found
    model = task.initial(seed)
    batch, target = task.batch(seed, step)
    arguments = tensors(batch)
    with torch.no_grad(), task.step(seed, step):
        loss = task.loss(model(*arguments), target)
    if torch.isfinite(loss):
        return None
    return f"the untrained model has a loss of {loss.item():g} on the batch of step {step}"


def _gaps(inputs: Part, targets: Part, which: str) -> str | None:
    for name, part in (("inputs", inputs), ("targets", targets)):
        for tensor in tensors(part):
            bad = ~torch.isfinite(tensor).reshape(len(tensor), -1).all(dim=1)
            if bad.any():
                first = int(bad.nonzero()[0])
                return (
                    f"{int(bad.sum()):,} {which} {len(tensor):,} samples have {name} that aren't "
                    f"finite, the first is number {first}"
                )
    return None
