"""The batches on which a task is tried: whole ones, with every extreme."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sweeper.tasks.task import Task
from sweeper.tasks.trial_batches import trial_batches


@pytest.mark.parametrize("count", [4, 5, 40])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_batches_are_whole_and_hold_every_extreme(count: int, size: int) -> None:
    """A batch of one sample left over would fail in a BatchNorm that is right in training."""
    tokens = torch.full((count, 2), 5)
    labels = torch.full((count,), 5)
    tokens[0, 1], tokens[1, 0], labels[2], labels[3] = 0, 9, 1, 8
    task = Task(
        model=lambda: nn.Embedding(10, 3),
        loss=nn.functional.cross_entropy,
        data=(tokens, labels),
        batch_size=size,
    )
    batches = trial_batches(task)
    assert all(len(inputs) == len(targets) == size for inputs, targets in batches)
    assert len(batches) <= -(-4 // size)  # no more than it takes
    seen = torch.cat([inputs for inputs, _ in batches])
    assert {0, 9} <= set(seen.flatten().tolist())
    assert {1, 8} <= {int(one) for _, targets in batches for one in targets}


def test_tensors_of_floats_have_no_extremes_to_try() -> None:
    data = (torch.randn(20, 3), torch.randn(20, 1))
    task = Task(
        model=lambda: nn.Linear(3, 1), loss=nn.functional.mse_loss, data=data, batch_size=4
    )
    (batch,) = trial_batches(task)
    assert torch.equal(batch[0], data[0][:4]) and torch.equal(batch[1], data[1][:4])
