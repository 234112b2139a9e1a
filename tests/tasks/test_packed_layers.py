"""Models of every kind of layer: packed they do what a plain loop of torch does alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from models import MODELS, task_of
from replay import EAGER64, Replay, alone, losses_in, pack_of, run_of, strangers
from torch import nn

from sweeper.lane.pack import Machine
from sweeper.lane.probing import Probing
from sweeper.tasks.layout import others
from sweeper.tasks.task import Task

STEPS, SEED = 200, 7
EAGER32 = Machine("cpu", "float32", compiled=False)
# What a run could depend on beside its parameters: statistics, random layers, buffers of its own.
WITH_CONTEXT = ("batch_norm", "dropout2d", "transformer_encoder", "frozen", "changed_buffer")
HORIZON = 30


@lru_cache(maxsize=None)
def replayed(name: str) -> Replay:
    return alone(task_of(name), SEED, STEPS)


@pytest.mark.parametrize("capacity", [1, 5])
@pytest.mark.parametrize("name", list(MODELS))
def test_packed_is_the_plain_loop_alone(name: str, capacity: int) -> None:
    pack = pack_of(task_of(name), capacity)
    ours = losses_in(pack, run_of(SEED), strangers(capacity - 1), capacity // 2, STEPS)
    expected = replayed(name)
    # Rounding of float64, which 200 steps of a stable run don't amplify. Asked for: 1e-6.
    np.testing.assert_allclose(ours, expected.losses, rtol=1e-11)
    assert expected.losses[-3:].mean() < expected.losses[:3].mean()
    found, wanted = (others(m) for m in (pack.model(capacity // 2), expected.model))
    for key, tensor in wanted.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(found[key], tensor, rtol=1e-10, atol=1e-12)
        else:
            assert torch.equal(found[key], tensor), key


def test_batches_are_counted_by_batch_norm() -> None:
    pack = pack_of(task_of("batch_norm"), 2)
    losses_in(pack, run_of(SEED), strangers(1), 0, 30)
    assert int(others(pack.model(0))["1.num_batches_tracked"]) == 30


@pytest.mark.parametrize("name", WITH_CONTEXT)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_does_not_depend_on_slot_or_neighbours(name: str, dtype: str) -> None:
    task, machine = task_of(name), Machine("cpu", dtype, compiled=False)
    pack = pack_of(task, 6, machine)
    first = losses_in(pack, run_of(SEED), [], 0, HORIZON)
    state = pack.row(0)
    for slot in (0, 3, 5):
        again = pack_of(task, 6, machine)
        found = losses_in(again, run_of(SEED), strangers(5), slot, HORIZON)
        assert np.array_equal(first, found), f"slot {slot}"
        for key, tensor in state.own.items():
            assert torch.equal(tensor, again.row(slot).own[key]), key


def test_a_neighbour_really_turns_nan() -> None:
    pack = pack_of(task_of("batch_norm"), 6, EAGER32)
    losses_in(pack, run_of(SEED), strangers(5), 3, HORIZON)
    statistics = [torch.isfinite(pack.row(slot).own["1.running_mean"]).all() for slot in (0, 3)]
    assert statistics == [False, True]


@pytest.mark.parametrize("name", WITH_CONTEXT)
def test_a_saved_row_goes_on_bit_for_bit_in_another_slot(name: str) -> None:
    whole_pack, pack = pack_of(task_of(name), 4, EAGER32), pack_of(task_of(name), 4, EAGER32)
    whole = losses_in(whole_pack, run_of(SEED), [], 0, 50)
    losses_in(pack, run_of(SEED), [], 0, 17)
    row = pack.row(0)
    pack.remove(0)
    for other in strangers(3):
        pack.place(other)
    slot = pack.place(run_of(SEED), row)
    assert (slot, pack.step_of(slot)) == (3, 17)
    assert np.array_equal(whole[17:], pack.train(33)[:, 0, slot])
    for key, tensor in whole_pack.row(0).own.items():
        assert torch.equal(tensor, pack.row(slot).own[key]), key


def test_a_row_past_its_horizon_keeps_its_statistics() -> None:
    task = task_of("batch_norm")
    pack = pack_of(task, 3)
    short = pack.place(run_of(SEED, horizon=20))
    pack.place(run_of(SEED + 1, horizon=200, number=1))
    pack.train(60)
    expected = others(alone(task, SEED, 20).model)
    found = others(pack.model(short))
    assert int(found["1.num_batches_tracked"]) == 20
    torch.testing.assert_close(found["1.running_var"], expected["1.running_var"], rtol=1e-10, atol=0)


def test_runs_of_one_seed_draw_the_same_masks_and_others_not() -> None:
    # Nothing but the masks differs between steps: one batch, and no learning.
    task = task_of("dropout", batch_size=None)
    pack = pack_of(task, 3)
    for number, seed in enumerate((SEED, SEED, SEED + 1)):
        pack.place(run_of(seed, number=number))
    losses = pack.train(10)[:, 0]
    assert np.array_equal(losses[:, 0], losses[:, 1])
    assert not np.isclose(losses[:, 0], losses[:, 2]).any()


@pytest.mark.parametrize("name", ["batch_norm", "transformer_encoder"])
def test_compiled_is_eager(name: str) -> None:
    eager, compiled = (
        losses_in(pack_of(task_of(name), 2, machine), run_of(SEED), strangers(1), 1, 60)
        for machine in (EAGER64, Machine("cpu", "float64", compiled=True))
    )
    # Sums in another order.
    np.testing.assert_allclose(compiled, eager, rtol=1e-9)


def test_refilling_a_model_with_state_never_recompiles(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    compile_as_torch = torch.compile

    def counted(function: object, **options: object) -> object:
        built.append(function)
        return compile_as_torch(function, backend="eager", **options)

    monkeypatch.setattr(torch, "compile", counted)
    network = lambda: nn.Sequential(  # noqa: E731
        nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Dropout(0.2), nn.Linear(12, 3)
    )
    pack = pack_of(task_of("dropout", model=network), 3, Machine("cpu", "float32", compiled=True))
    pack.place(run_of(SEED))
    pack.train(5)
    with torch.compiler.set_stance("fail_on_recompile"):
        pack.remove(0)
        pack.place(run_of(SEED + 1, number=1))
        pack.place(run_of(SEED + 2, horizon=3, number=2))
        pack.train(20)
    assert len(built) == 1  # the gradient: the update is in C++


def test_bfloat16_trains_near_float32_and_as_alone() -> None:
    name = "batch_norm"
    mixed = task_of(name, mixed_precision="bfloat16")
    ours = losses_in(pack_of(mixed, 3, EAGER32), run_of(SEED), strangers(2), 1, 100)
    full = losses_in(pack_of(task_of(name), 3, EAGER32), run_of(SEED), strangers(2), 1, 100)
    expected = alone(mixed, SEED, 100, torch.float32, mixed=True).losses
    # bfloat16 has 8 bits, 0.4 %; kernels round in other places.
    np.testing.assert_allclose(ours, expected, rtol=0.03)
    np.testing.assert_allclose(ours, full, rtol=0.05)
    assert not np.allclose(ours, full, rtol=1e-5)


def test_bfloat16_keeps_parameters_in_float32() -> None:
    pack = pack_of(task_of("convolution", mixed_precision="bfloat16"), 2, EAGER32)
    losses_in(pack, run_of(SEED), [], 0, 5)
    assert pack.arena.theta.dtype == torch.float32
    bits = pack.arena.theta[0].view(torch.int32) & 0xFFFF
    assert (bits != 0).any()


@pytest.mark.parametrize(
    "name",
    ["batch_norm", "dropout2d", "convolution", "transformer_encoder", "multi_head_attention",
     "causal_attention", "lstm", "layer_norm", "embedding"],
)  # fmt: skip
def test_probes_have_their_hessian_products(name: str) -> None:
    assert Probing(task_of(name), 2, EAGER32).trouble is None


def test_frozen_parameters_stay_and_differ_between_seeds() -> None:
    task: Task = task_of("frozen")
    pack = pack_of(task, 2)
    pack.place(run_of(SEED))
    pack.place(run_of(SEED + 1, number=1))
    pack.train(20)
    for slot, seed in ((0, SEED), (1, SEED + 1)):
        start, now = others(task.initial(seed)), others(pack.model(slot))
        assert all(torch.equal(start[key].double(), now[key]) for key in start)
    assert not torch.equal(pack.row(0).own["phase"], pack.row(1).own["phase"])
