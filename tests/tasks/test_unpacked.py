"""Models that can't be packed train one by one: as a plain torch loop, whoever is beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sweeper
from sweeper.lane.pack import Machine, Pack
from sweeper.lane.run import Run
from sweeper.optim.configuration import Program
from sweeper.tasks.task import Task

STEPS = 25
X = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
Y = X.sin().sum(1, keepdim=True)
ADAM = {"optimizer": "adam", "lr": 0.01}


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.tanh() if x.mean() > 0 else x.relu()


class Item(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.tanh() * (1 + x.abs().max().item())


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        found = torch.zeros(x.shape, dtype=x.dtype)
        found[:, ::2] = x[:, ::2].tanh()
        return found


class Permuted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.tanh() + 0.1 * x[torch.randperm(len(x), device=x.device)]


class Everything(nn.Module):
    """Beside a branch a random layer, running statistics and a frozen random parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.branch = nn.BatchNorm1d(6), nn.Dropout(0.3), Branch()
        self.frozen = nn.Parameter(torch.randn(6), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(self.drop(self.norm(x))) * self.frozen


MODELS = [Branch, Item, InPlace, Permuted, Everything]


def task_of(middle: type[nn.Module], batch_size: int | None = 8) -> Task:
    return Task(
        model=lambda: nn.Sequential(nn.Linear(4, 6), middle(), nn.Linear(6, 1)),
        loss=F.mse_loss,
        data=(X, Y),
        batch_size=batch_size,
        evaluate=lambda model: {"norm": sum(float(b.double().sum()) for b in model.buffers())},
        allow_unpacked=True,
    )


def plain(task: Task, seed: int, lr: float = 0.01) -> tuple[list[float], nn.Module]:
    """The losses of a loop in torch, in float64."""
    model = task.initial(seed).double()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    losses = []
    for step in range(STEPS):
        inputs, target = task.batch(seed, step)
        with task.step(seed, step):
            loss = task.loss(model(inputs.double()), target.double())
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses, model.eval()


def packed(task: Task, *, compiled: bool = False, **given: Any) -> sweeper.Trajectories:
    configs = [ADAM, {**ADAM, "lr": 0.003}]
    settings: dict[str, Any] = {"seeds": (0, 5), "dtype": "float64", "device": "cpu", **given}
    return sweeper.train(task, configs, horizon=STEPS, compiled=compiled, **settings)


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("middle", MODELS)
def test_it_is_the_plain_loop(middle: type[nn.Module], batch_size: int | None) -> None:
    task = task_of(middle, batch_size)
    found = packed(task)
    for run, (config, seed) in enumerate(found.runs):
        expected, model = plain(task, seed, config["lr"])
        np.testing.assert_allclose(found.loss[run], expected, rtol=1e-9)
        assert task.evaluate is not None
        assert found.evaluations[run]["norm"] == pytest.approx(task.evaluate(model)["norm"])


@pytest.mark.parametrize("middle", [Branch, Everything])
def test_the_update_is_compiled_where_the_model_is_not(middle: type[nn.Module]) -> None:
    task = task_of(middle)
    compiled, eager = packed(task, compiled=True), packed(task)
    np.testing.assert_allclose(compiled.loss, eager.loss, rtol=1e-9)


@pytest.mark.parametrize("middle", MODELS)
def test_neighbours_and_chunks_do_not_matter(middle: type[nn.Module]) -> None:
    task = task_of(middle)

    def losses(others: int, chunks: tuple[int, ...]) -> np.ndarray:
        machine = Machine("cpu", "float32", compiled=False)
        pack = Pack(task, Program("adam"), 4, machine)
        for other in range(others):  # the first one ends early, and stays
            config = {**ADAM, "lr": 0.1 * 3**other}
            pack.place(Run(other + 1, 1, config, other, 10 if other == 0 else 100))
        slot = pack.place(Run(0, 0, ADAM, 7, STEPS))
        return np.concatenate([pack.train(chunk)[:, 0, slot] for chunk in chunks])

    alone = losses(0, (STEPS,))
    assert np.isfinite(alone).all()
    assert np.array_equal(alone, losses(3, (STEPS,)))
    assert np.array_equal(alone, losses(2, (10, STEPS - 10)))


@pytest.mark.parametrize("middle", [Permuted, Everything])
def test_a_saved_row_goes_on_as_it_was(middle: type[nn.Module]) -> None:
    task, machine = task_of(middle), Machine("cpu", "float32", compiled=False)
    run = Run(0, 0, ADAM, 3, STEPS)
    whole = Pack(task, Program("adam"), 2, machine)
    whole.place(run)
    expected = whole.train(STEPS)[:, 0, 0]
    first, second = (Pack(task, Program("adam"), 2, machine) for _ in range(2))
    first.place(run)
    first.train(10)
    second.place(Run(1, 1, ADAM, 1, STEPS))
    slot = second.place(run, first.row(0))
    assert np.array_equal(second.train(STEPS - 10)[:, 0, slot], expected[10:])


def test_a_packable_model_gives_the_same_with_and_without_permission() -> None:
    """Only what can't be packed is trained one by one."""
    tasks = [
        Task(
            model=lambda: nn.Linear(4, 1),
            loss=F.mse_loss,
            data=(X, Y),
            batch_size=8,
            allow_unpacked=allowed,
        )
        for allowed in (False, True)
    ]
    first, second = (packed(task) for task in tasks)
    assert np.array_equal(first.loss, second.loss)


def test_global_random_numbers_stay_as_they_were() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    packed(task_of(Permuted))
    assert torch.equal(torch.rand(2), expected)
