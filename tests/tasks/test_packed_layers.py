"""Packed training equals training alone, layer by layer: a plain loop of torch.optim.Adam."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from layer_models import KINDS, task
from torch import nn

from sweeper.lane.pack import Machine, Pack
from sweeper.lane.run import Run
from sweeper.optim.configuration import Program
from sweeper.tasks.parts import moved
from sweeper.tasks.task import Task

STEPS, LR = 200, 1e-3
EAGER = Machine("cpu", "float64", compiled=False)
COMPILED = Machine("cpu", "float64", compiled=True)


def alone(what: Task, seed: int, steps: int = STEPS) -> tuple[np.ndarray, nn.Module]:
    """Losses and the model of a run as anybody would train it."""
    model = what.initial(seed).double()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=LR)
    losses = []
    for step in range(steps):
        parts = what.batch(seed, step)
        inputs, targets = (moved(part, torch.device("cpu"), torch.float64) for part in parts)
        with what.step(seed, step):
            output = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
            loss = what.loss(output, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses), model


def pack_of(what: Task, capacity: int, machine: Machine = EAGER) -> Pack:
    return Pack(what, Program("adam"), capacity, machine)


def run(seed: int, horizon: int = STEPS, **config: Any) -> Run:
    return Run(seed, seed, {"lr": LR, **config}, seed, horizon)


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: t.detach().double() for n, t in [*model.named_parameters(), *model.named_buffers()]}


@pytest.mark.parametrize("capacity", [2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_is_alone(kind: str, capacity: int) -> None:
    what = task(kind)
    pack = pack_of(what, capacity)
    for seed in range(2):
        pack.place(run(seed))
    losses = pack.train(STEPS)[:, 0]
    for seed in range(2):
        expected, model = alone(what, seed)
        assert expected[-1] < 0.99 * expected[0]  # it learns, so that there is something to equal
        # Rounding grows over 200 steps: measured up to 1e-13, attention included.
        np.testing.assert_allclose(losses[:, seed], expected, rtol=1e-10)
        found = tensors(pack.model(seed))
        for name, tensor in tensors(model).items():
            # Biases before a BatchNorm have no gradient: Adam makes steps of rounding there.
            torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", ["convolution", "decoder", "counting", "two_heads"])
def test_compiled_is_eager(kind: str) -> None:
    what, series = task(kind), []
    for machine in (EAGER, COMPILED):
        pack = pack_of(what, 3, machine)
        for seed in range(3):
            pack.place(run(seed))
        series.append(np.concatenate([pack.train(30), pack.train(30)])[:, 0])
        assert all(t.isfinite().all() for t in pack.arena.own.values() if t.is_floating_point())
        if kind == "convolution":
            assert pack.model(1).norm.num_batches_tracked == 60
    np.testing.assert_allclose(series[1], series[0], rtol=1e-10)


@pytest.mark.parametrize("kind", ["convolution", "decoder", "counting"])
def test_slots_and_neighbours_change_nothing(kind: str) -> None:
    def losses(slot: int, *, beside: bool) -> np.ndarray:
        pack = pack_of(what, 4)
        for other in range(slot):
            pack.place(run(10 + other, lr=1e6 if other == 0 else 1e-2))
        assert pack.place(run(1)) == slot
        while beside and pack.free:
            pack.place(run(20 + pack.free, lr=3e-2))
        return pack.train(40)[:, 0, slot]

    what = task(kind)
    first = losses(0, beside=False)
    for slot in (0, 1, 3):
        assert np.array_equal(losses(slot, beside=True), first), slot


@pytest.mark.parametrize("kind", ["convolution", "counting", "two_heads"])
def test_a_saved_row_goes_on_bit_for_bit(kind: str) -> None:
    what = task(kind)
    pack = pack_of(what, 3)
    pack.place(run(7))
    whole = pack.train(60)[:, 0, 0]
    expected = tensors(pack.model(0))
    before, after = pack_of(what, 3), pack_of(what, 3)
    before.place(run(7))
    before.train(30)
    row = before.row(0)
    after.place(run(8))
    slot = after.place(run(7), row)
    assert np.array_equal(after.train(30)[:, 0, slot], whole[30:])
    found = tensors(after.model(slot))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_run_at_its_end_keeps_its_statistics() -> None:
    pack = pack_of(task("batch_norm"), 2)
    short, long = run(0, horizon=13), run(1, horizon=40)
    pack.place(short)
    pack.place(long)
    pack.train(40)
    assert pack.model(0)[1].num_batches_tracked == 13
    assert pack.model(1)[1].num_batches_tracked == 40
    _, model = alone(task("batch_norm"), 0, steps=13)
    torch.testing.assert_close(pack.model(0)[1].running_mean, model[1].running_mean)


def test_a_slot_is_clean_for_the_next_run() -> None:
    what = task("batch_norm")
    pack = pack_of(what, 1)
    pack.place(run(0, horizon=20))
    pack.train(20)
    pack.remove(0)
    pack.place(run(1, horizon=20))
    losses = pack.train(20)[:, 0, 0]
    expected, model = alone(what, 1, steps=20)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    torch.testing.assert_close(pack.model(0)[1].running_var, model[1].running_var)


def test_the_full_batch_has_running_statistics_too() -> None:
    what = task("batch_norm", None)
    pack = pack_of(what, 2)
    pack.place(run(0))
    losses = pack.train(50)[:, 0, 0]
    np.testing.assert_allclose(losses, alone(what, 0, steps=50)[0], rtol=1e-12)


def test_evaluation_is_in_eval_mode() -> None:
    seen: list[nn.Module] = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        seen.append(model)
        return {"training": float(model.training)}

    pack = pack_of(task("convolution", evaluate=evaluate), 1)
    pack.place(run(0))
    pack.train(3)
    assert pack.evaluate(0) == {"training": 0.0}
    assert not seen[0].norm.training


@pytest.mark.parametrize("kind", ["convolution", "decoder"])
def test_mixed_precision_is_near_and_packs(kind: str) -> None:
    """bfloat16 has 8 bits: losses agree to a percent or two, and aren't those of float32."""
    machine = Machine("cpu", "float32", compiled=False)
    plain, mixed = task(kind), task(kind, mixed_precision="bfloat16")
    found = []
    for what in (plain, mixed):
        pack = pack_of(what, 2, machine)
        pack.place(run(0))
        found.append(pack.train(60)[:, 0, 0])
        assert pack.arena.theta.dtype == torch.float32
    np.testing.assert_allclose(found[1], found[0], rtol=0.05)
    assert not np.allclose(found[1], found[0], rtol=1e-5)
    model = mixed.initial(0)
    inputs, targets = mixed.batch(0, 0)
    with mixed.step(0, 0), mixed.precision():
        loss = mixed.loss(model(inputs), targets)
    np.testing.assert_allclose(found[1][0], loss.item(), rtol=0.01)


def test_new_runs_never_recompile() -> None:
    pack = pack_of(task("convolution"), 2, COMPILED)
    torch._dynamo.utils.counters.clear()
    pack.place(run(0, horizon=30))
    pack.train(20)
    compiled = dict(torch._dynamo.utils.counters["stats"])
    pack.place(run(1, horizon=30, eps=1e-3))
    pack.train(10)
    pack.remove(0)
    pack.place(run(2, horizon=30, lr=1e-2))
    pack.train(20)
    assert dict(torch._dynamo.utils.counters["stats"]) == compiled
    assert compiled
