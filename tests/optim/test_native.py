"""The update in C++: bit for bit the formula in NumPy, in rounding the rule run by torch.

torch's uncompiled square root (MKL's) is not the correctly rounded one; NumPy's and C++'s are.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problems import normal
from torch import Tensor

from sweeper.optim.arena import Arena
from sweeper.optim.coefficients import names
from sweeper.optim.configuration import parse
from sweeper.optim.native import build
from sweeper.optim.native.adam import NativeUpdate, native_update
from sweeper.optim.rules import RULES
from sweeper.optim.statistics import NAMES
from sweeper.optim.step import Step
from sweeper.optim.update import TorchUpdate

SIZE = 5003  # several blocks of the sums, and a rest in every vector width
CONFIGS: list[dict[str, Any]] = [
    {"optimizer": "adam", "lr": 1e-2, "eps": 0.1},
    {"optimizer": "adam", "weight_decay": 0.1, "clip_value": 0.5, "amsgrad": True},
    {"optimizer": "adamw", "weight_decay": 0.1, "betas": [0.0, 0.9], "schedule": "cosine"},
    {"optimizer": "adam", "eps_hat": True, "eps": 1e-4, "schedule": "onecycle"},
]
CLIPPED = [
    {**{k: v for k, v in config.items() if k != "clip_value"}, "clip_norm": 20.0}
    for config in CONFIGS
]


def filled(
    configs: list[dict[str, Any]],
    dtype: torch.dtype,
    *,
    mask: bool = False,
    keep_update: bool = False,
    extras: tuple[str, ...] = ("amsgrad",),
) -> Arena:
    decay_mask = (normal(SIZE, seed=5) > 0).double() if mask else None
    arena = Arena.empty(
        RULES["adam"],
        len(configs),
        (SIZE,),
        dtype=dtype,
        decay_mask=decay_mask,
        keep_update=keep_update,
        extras=extras,
    )
    for slot, config in enumerate(configs):
        arena.start(slot, normal(SIZE, seed=slot), parse(config), horizon=1000)
    return arena


def gradients(rows: int, dtype: torch.dtype, steps: int) -> list[Tensor]:
    return [normal(rows, SIZE, seed=100 + i).to(dtype) for i in range(steps)]


def native(arena: Arena) -> NativeUpdate:
    update = native_update(arena)
    assert update is not None, "there is a compiler on this machine"
    return update


def close(found: Tensor, expected: Tensor, *, rtol: float, atol: float) -> None:
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol, equal_nan=True)


def tensors(arena: Arena) -> dict[str, Tensor]:
    kept = {} if arena.previous is None else {"previous": arena.previous}
    return {"theta": arena.theta, **arena.state, **kept}


def formula(
    values: dict[str, np.ndarray], grad: np.ndarray, mask: np.ndarray, table: np.ndarray
) -> None:
    """One step in place in NumPy, every operation in the dtype of the run, in the rule's order."""
    c = {name: table[i][:, None] for i, name in enumerate(names(RULES["adam"]))}
    decayed = values["theta"] * mask
    grad = np.clip(grad, -c["clip_value"], c["clip_value"]) + c["coupled"] * decayed
    values["exp_avg"] += c["beta1_left"] * (grad - values["exp_avg"])
    values["exp_avg_sq"] = c["beta2"] * values["exp_avg_sq"] + c["beta2_left"] * grad * grad
    largest = np.maximum(values["max_exp_avg_sq"], values["exp_avg_sq"])
    divisor = np.where(c["amsgrad"] > 0, largest, values["exp_avg_sq"])
    values["max_exp_avg_sq"] = divisor
    root = np.sqrt(divisor) * c["unbiased"]
    change = c["step_size"] * (values["exp_avg"] / (root + c["eps"])) + c["decay"] * decayed
    values["theta"] -= change
    values["previous"] = change


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mask", [False, True])
def test_it_is_the_formula_bit_for_bit(dtype: torch.dtype, mask: bool) -> None:
    arena = filled(CONFIGS, dtype, mask=mask, keep_update=True)
    update, table = native(arena), arena.coefficients(20)
    kept = np.ones(SIZE) if arena.decay_mask is None else arena.decay_mask.numpy()
    expected = {name: tensor.numpy().copy() for name, tensor in tensors(arena).items()}
    for i, grad in enumerate(gradients(len(CONFIGS), dtype, 20)):
        if i % 3:
            update.plain(grad, table[i], clips_norm=False)
        else:
            update.sampled(grad, table[i])
        formula(expected, grad.numpy(), kept.astype(grad.numpy().dtype), table[i].numpy())
    for name, tensor in tensors(arena).items():
        assert np.array_equal(tensor.numpy(), expected[name]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"mask": True}, {"keep_update": True}])
def test_it_says_what_torch_says(dtype: torch.dtype, options: dict[str, bool]) -> None:
    mine, other = filled(CONFIGS, dtype, **options), filled(CONFIGS, dtype, **options)
    in_cpp, by_torch = native(mine), TorchUpdate(other, compiled=False)
    for grad, row in zip(gradients(len(CONFIGS), dtype, 20), mine.coefficients(20), strict=True):
        found, expected = in_cpp.sampled(grad, row), by_torch.sampled(grad, row)
        # Sums of 5003 numbers in another order, of values that differ in their last bit.
        close(found, expected, rtol=1e-5, atol=1e-7)
    assert torch.isnan(found[NAMES.index("update_cosine")]).all() == (mine.previous is None)


def test_clipping_by_norm_differs_by_the_rounding_of_one_sum() -> None:
    mine, other = filled(CLIPPED, torch.float64), filled(CLIPPED, torch.float64)
    in_cpp, by_torch = native(mine), TorchUpdate(other, compiled=False)
    table = mine.coefficients(20)
    for i, grad in enumerate(gradients(len(CLIPPED), torch.float64, 20)):
        in_cpp.plain(grad * (1 + i), table[i], clips_norm=True)
        by_torch.plain(grad * (1 + i), table[i], clips_norm=True)
    torch.testing.assert_close(mine.theta, other.theta, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("special", [0.0, 1e-45, 1e30, math.inf, -math.inf, math.nan])
def test_special_gradients_do_what_they_do_in_torch(special: float) -> None:
    mine, other = filled(CONFIGS, torch.float32), filled(CONFIGS, torch.float32)
    in_cpp, by_torch = native(mine), TorchUpdate(other, compiled=False)
    grad = torch.full((len(CONFIGS), SIZE), special)
    grad[1, ::2] = 1.0
    for row in mine.coefficients(3):
        in_cpp.plain(grad, row, clips_norm=False)
        by_torch.plain(grad, row, clips_norm=False)
        found, expected = in_cpp.sampled(grad, row), by_torch.sampled(grad, row)
    for name, tensor in tensors(other).items():
        close(tensors(mine)[name], tensor, rtol=1e-6, atol=1e-6)
    # In float32 squares of 1e30 overflow on both sides.
    close(found, expected, rtol=1e-5, atol=1e-7)


def test_a_row_depends_on_nothing_but_itself() -> None:
    together = filled(CLIPPED, torch.float32)
    alone = filled(CLIPPED[:1], torch.float32)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        by_threads = filled(CLIPPED, torch.float32)
        in_threads = native(by_threads)
        # What it was built with counts, and this pack is too small to be shared out by default.
        in_threads = NativeUpdate(by_threads, in_threads._step, parameters_a_thread=1)
    finally:
        torch.set_num_threads(threads)
    assert len(in_threads._spans) == 2
    updates = native(together), native(alone), in_threads
    arenas = together, alone, by_threads
    for i, grad in enumerate(gradients(len(CLIPPED), torch.float32, 5)):
        grad[2] = math.nan
        for update, arena in zip(updates, arenas, strict=True):
            said = update.sampled(grad[: arena.capacity], arena.coefficients(i + 1)[i])
            assert torch.isfinite(said[: NAMES.index("update_cosine"), 0]).all()
    assert torch.equal(alone.theta[0], together.theta[0])
    torch.testing.assert_close(by_threads.theta, together.theta, rtol=0, atol=0, equal_nan=True)


def test_only_adam_on_the_cpu_has_one() -> None:
    lion = Arena.empty(RULES["lion"], 2, (SIZE,))
    assert native_update(lion) is None
    assert native_update(Arena.empty(RULES["adam"], 2, (SIZE,), dtype=torch.bfloat16)) is None


def test_a_compiler_that_fails_is_told_of_and_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build._load.cache_clear()
    broken = tmp_path / "broken.cpp"
    broken.write_text("int main( {")
    with pytest.warns(RuntimeWarning, match="broken.cpp can't be compiled"):
        assert build.load(broken, {}) is None
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert build.load(broken, {"OTHER": 1}) is None  # said already: training is uncompiled
    monkeypatch.setenv("CXX", "false")
    with pytest.warns(RuntimeWarning, match="adam.cpp can't be compiled"):
        step = Step(
            filled(CONFIGS, torch.float32), lambda theta: (theta, theta[:, 0]), compiled=True
        )
    assert isinstance(step._update, TorchUpdate)
    build._load.cache_clear()


_BUILD = """
import torch
from sweeper.optim.arena import Arena
from sweeper.optim.native.adam import native_update
from sweeper.optim.rules import RULES
assert native_update(Arena.empty(RULES["adam"], 2, (8,))) is not None
"""


def test_processes_build_at_once_and_leave_one_library(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    running = [subprocess.Popen([sys.executable, "-c", _BUILD], env=environment) for _ in range(2)]
    assert [one.wait(timeout=120) for one in running] == [0, 0]
    assert len(list((tmp_path / "cache" / "sweeper").iterdir())) == 1


def test_a_cache_folder_that_cant_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file")}
    environment["TMPDIR"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", _BUILD], env=environment, check=True, timeout=120)
