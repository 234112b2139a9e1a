"""A run is a pure function of (task, configuration, seed): bit for bit at one capacity."""

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from sweeper.lane.pack import Machine, Pack
from sweeper.lane.run import Run
from sweeper.optim.configuration import Program
from sweeper.tasks.registry import TaskName

DEFAULT = {"optimizer": "adam", "lr": 1e-3}
DIVERGING = {"optimizer": "adamw", "lr": 1e6, "weight_decay": 1e6}


def pack_of(task: str, capacity: int, dtype: str = "float32", *, compiled: bool = True) -> Pack:
    return Pack(
        TaskName(task, {}).build(), Program("adam"), capacity, Machine("cpu", dtype, compiled)
    )


def strangers(count: int, first: int = 100) -> list[Run]:
    """Runs with other settings, schedules and seeds, one of them blowing up to NaN."""
    runs = []
    for i in range(count):
        config = {"lr": 1e-4 * 1.3**i, "eps": 10.0 ** -(i % 9), "amsgrad": i % 2 == 0}
        if i % 3 == 0:
            config |= {"schedule": {"kind": "cosine", "warmup": 0.1}}
        runs.append(Run(first + i, first + i, config if i else DIVERGING, i, 400))
    return runs


def losses(pack: Pack, run: Run, others: list[Run], slot: int, steps: int) -> np.ndarray:
    """The losses of `run` in a slot, `others` in those before and after."""
    for other in others[:slot]:
        pack.place(other)
    assert pack.place(run) == slot
    for other in others[slot:]:
        pack.place(other)
    found = pack.train(steps)[:, 0, slot].copy()
    for held in list(pack.runs().values()):
        pack.remove(held)
    return found


@pytest.mark.parametrize("task", ["perceptron", "digits"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_does_not_depend_on_slot_or_neighbours(task: str, dtype: str) -> None:
    pack = pack_of(task, 64, dtype)
    run = Run(0, 0, DEFAULT, 0, 400)
    steps = 60
    alone = losses(pack, run, [], 0, steps)
    assert np.isfinite(alone).all()
    for slot in (0, 1, 31, 63):
        beside = losses(pack, run, strangers(63), slot, steps)
        assert np.array_equal(alone, beside), f"slot {slot}"


def test_a_neighbour_really_turns_nan() -> None:
    pack = pack_of("digits", 8)
    nan = losses(pack, Run(1, 1, DIVERGING, 0, 400), strangers(7), 3, 60)
    assert np.isnan(nan).any()


def test_capacities_agree_to_rounding_while_the_run_is_stable() -> None:
    run = Run(0, 0, {"optimizer": "adam", "lr": 1e-3, "eps": 0.1}, 0, 2000)
    one = losses(pack_of("perceptron", 1, "float64"), run, [], 0, 2000)
    many = losses(pack_of("perceptron", 64, "float64"), run, strangers(63), 40, 2000)
    a, b = np.sqrt(one), np.sqrt(many)
    # The promise: 1e-9 relative in sqrt(loss), and 1e-13 where that is at its own rounding.
    assert (np.abs(a - b) <= 1e-9 * a + 1e-13).all()


def test_compiled_and_eager_agree() -> None:
    run = Run(0, 0, DEFAULT, 0, 100)
    compiled = losses(pack_of("digits", 4, "float64"), run, [], 0, 100)
    eager = losses(pack_of("digits", 4, "float64", compiled=False), run, [], 0, 100)
    # Another order of sums in float64 over 100 steps of a smooth problem.
    np.testing.assert_allclose(compiled, eager, rtol=1e-9)


def test_packed_is_the_plain_loop_alone() -> None:
    task = TaskName("digits", {}).build()
    model = task.initial(7).double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    expected = []
    for step in range(100):
        inputs, targets = task.batch(7, step)
        loss = task.loss(model(inputs.double()), targets)
        expected.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    run = Run(0, 0, {"optimizer": "adamw", "lr": 3e-3}, 7, 100)
    ours = losses(pack_of("digits", 4, "float64", compiled=False), run, [], 0, 100)
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


@pytest.mark.parametrize("task", ["perceptron", "digits"])
def test_a_saved_row_goes_on_bit_for_bit_in_another_slot(task: str) -> None:
    pack = pack_of(task, 8)
    run = Run(0, 0, {**DEFAULT, "schedule": {"kind": "cosine", "warmup": 0.2}}, 1, 100)
    whole = losses(pack, run, [], 0, 100)
    slot = pack.place(run)
    pack.train(37)
    row = pack.row(slot)
    pack.remove(slot)
    for other in strangers(5):
        pack.place(other)
    slot = pack.place(run, row)
    assert (slot, pack.step_of(slot)) == (5, 37)
    rest = pack.train(63)[:, 0, slot]
    assert np.array_equal(whole[37:], rest)


def test_new_values_schedules_and_refills_never_recompile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counter = CompileCounterWithBackend("eager")
    compile_as_torch = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda fn, **kw: compile_as_torch(fn, backend=counter, **kw)
    )
    pack = pack_of("digits", 4)
    for run in strangers(4):
        pack.place(run)
    pack.train(3)
    compiled = counter.frame_count
    assert compiled == 1  # the gradient: the update is in C++
    pack.remove(2)
    pack.place(Run(9, 9, {"optimizer": "adamw", "lr": 0.5}, 9, 50))
    pack.train(3)
    assert counter.frame_count == compiled


def test_a_row_that_clips_may_come_later() -> None:
    pack = Pack(TaskName("digits", {}).build(), Program("lion"), 2, Machine())
    pack.place(Run(0, 0, {"optimizer": "lion", "lr": 1e-4}, 0, 50))
    pack.train(20)
    slot = pack.place(Run(1, 1, {"optimizer": "lion", "lr": 1e-4, "clip_norm": 1.0}, 0, 50))
    assert np.isfinite(pack.train(20)[:, 0, slot]).all()


def test_long_chunks_are_made_in_blocks_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found(block: int) -> np.ndarray:
        monkeypatch.setattr("sweeper.lane.pack._BLOCK", block)
        pack = pack_of("digits", 4, compiled=False)
        pack.place(Run(0, 0, {"optimizer": "adam", "schedule": "cosine"}, 0, 100))
        return pack.train(70)[:, :, 0]

    assert np.array_equal(found(1000), found(25), equal_nan=True)
