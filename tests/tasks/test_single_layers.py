"""Models with one kind of layer each: packed they do what a plain loop of torch does alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from single_layers import MODELS, task_for, task_of
from torch import Tensor, nn

from sweeper.errors import SweepError
from sweeper.lane.pack import Machine, Pack
from sweeper.lane.run import Run
from sweeper.optim.configuration import Program
from sweeper.tasks.functions import Functions
from sweeper.tasks.layout import others
from sweeper.tasks.parts import moved
from sweeper.tasks.randomness import keys
from sweeper.tasks.task import Task

STEPS, SEED, LR = 200, 7, 3e-3
EAGER = Machine("cpu", "float64", compiled=False)
DIVERGING = Run(9, 9, {"optimizer": "adamw", "lr": 1e6, "weight_decay": 1e6}, 49, STEPS)


@dataclass(frozen=True)
class Replay:
    """Losses of every step, and the model at the end."""

    losses: np.ndarray
    model: nn.Module


def replay(task: Task, steps: int = STEPS) -> Replay:
    """With torch.optim.Adam, as the docstring of Task.step says."""
    model = task.initial(SEED).double()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=LR)
    losses, cpu = [], torch.device("cpu")
    for step in range(steps):
        inputs, targets = (moved(part, cpu, torch.float64) for part in task.batch(SEED, step))
        arguments = (inputs,) if isinstance(inputs, Tensor) else inputs
        with task.step(SEED, step):
            loss = task.loss(model(*arguments), targets)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Replay(np.array(losses), model)


@cache
def replayed(name: str) -> Replay:
    return replay(task_of(name))


def packed(task: Task, capacity: int, slot: int, steps: int = STEPS) -> tuple[np.ndarray, Pack]:
    """The losses of a run in a slot, others in those before and after; it stays there."""
    pack = Pack(task, Program("adam"), capacity, EAGER)
    for at in range(capacity):
        stranger = Run(100 + at, at, {"lr": 1e-4 * 2**at}, 50 + at, STEPS)
        own = Run(0, 0, {"lr": LR}, SEED, STEPS)
        pack.place(own if at == slot else DIVERGING if at == 1 else stranger)
    return pack.train(steps)[:, 0, slot].copy(), pack


@pytest.mark.parametrize(("capacity", "slot"), [(1, 0), (5, 2)])
@pytest.mark.parametrize("name", list(MODELS))
def test_packed_is_the_plain_loop_alone(name: str, capacity: int, slot: int) -> None:
    ours, pack = packed(task_of(name), capacity, slot)
    expected = replayed(name)
    # Rounding of float64, which 200 steps of a stable run don't amplify. Asked for: 1e-6.
    np.testing.assert_allclose(ours, expected.losses, rtol=1e-11)
    assert expected.losses[-3:].mean() < expected.losses[:3].mean()
    found, wanted = others(pack.model(slot)), others(expected.model)
    assert found.keys() == wanted.keys()
    for key, tensor in wanted.items():
        # Counts and masks are equal to the bit.
        torch.testing.assert_close(found[key], tensor, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["spectral_norm", "instance_norm", "feature_alpha_dropout"])
def test_slots_change_nothing(name: str) -> None:
    one, other = (packed(task_of(name), 5, slot, 30) for slot in (0, 4))
    assert np.array_equal(one[0], other[0])
    for key, tensor in one[1].row(0).items():
        assert torch.equal(tensor, other[1].row(4)[key]), key


UNPACKED: dict[str, Any] = {
    "a moving average of all batches": lambda: nn.BatchNorm1d(12, momentum=None),
    "a random slope": lambda: nn.RReLU(),
}


@pytest.mark.parametrize("name", list(UNPACKED))
def test_what_is_refused_trains_one_by_one_as_alone(name: str) -> None:
    task = task_for(
        lambda: nn.Sequential(nn.Linear(6, 12, bias=False), UNPACKED[name](), nn.Linear(12, 3))
    )
    with pytest.raises(SweepError, match=r"can't be packed: 1 .*allow_unpacked: true"):
        packed(task, 3, 2, 1)
    allowed = task_for(task.model, allow_unpacked=True)
    ours, pack = packed(allowed, 3, 2, 40)
    expected = replay(allowed, 40)
    np.testing.assert_allclose(ours, expected.losses, rtol=1e-11)
    for key, tensor in others(expected.model).items():
        torch.testing.assert_close(others(pack.model(2))[key], tensor, rtol=1e-10, atol=1e-12)


def drawn(function: Any) -> Tensor:
    with Functions(torch.tensor(int(keys(0, 0, 1)[0]))):
        found: Tensor = function()
    return found


def test_feature_alpha_dropout_takes_whole_channels_and_keeps_the_moments() -> None:
    x = torch.randn(60, 70, 4, 4, generator=torch.Generator().manual_seed(0))
    flat = drawn(lambda: F.feature_alpha_dropout(torch.ones(x.shape), 0.3, True)).flatten(2)
    assert (flat == flat[..., :1]).all()
    low = flat.min()
    # Five standard errors of 4200 channels.
    assert (flat[..., 0] == low).double().mean().item() == pytest.approx(0.3, abs=0.036)
    found = drawn(lambda: F.feature_alpha_dropout(x, 0.3, True))
    assert found.mean().item() == pytest.approx(0, abs=0.06)
    assert found.var().item() == pytest.approx(1, abs=0.06)
    assert drawn(lambda: F.feature_alpha_dropout(x, 0.3, False)) is x


def test_normalize_is_torchs_and_fills_what_it_is_given() -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    given = torch.zeros(5, 4)
    assert drawn(lambda: F.normalize(x, p=3, dim=0, out=given)) is given
    assert torch.equal(given, F.normalize(x, p=3, dim=0))
    assert torch.equal(drawn(lambda: F.normalize(x)), F.normalize(x))
