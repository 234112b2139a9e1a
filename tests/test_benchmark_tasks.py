"""The tasks that only the benchmarks have: models as users write them, which packs must take."""

from collections.abc import Callable

import pytest
import torch

from benchmarks import character_lm, convolution
from sweeper.tasks.examine import examine
from sweeper.tasks.task import Task


@pytest.mark.parametrize("build", [character_lm.build, convolution.build])
def test_can_be_packed(build: Callable[[], Task]) -> None:
    assert examine(build()).trouble == ""


def test_targets_are_the_next_characters() -> None:
    inputs, targets = character_lm.build().data
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_character_model_does_not_see_what_it_predicts() -> None:
    task = character_lm.build()
    inputs, model = task.data[0][:2], task.initial(0)
    later = inputs.clone()
    later[:, 20:] = 0
    torch.testing.assert_close(model(inputs)[:, :20], model(later)[:, :20])
