"""The update of the adam program on the CPU in one pass of C++; see adam.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sweeper.optim.arena import Arena
from sweeper.optim.coefficients import names
from sweeper.optim.native.build import load
from sweeper.optim.statistics import NAMES

_SOURCE = Path(__file__).with_name("adam.cpp")
_REALS = {torch.float32: "float", torch.float64: "double"}
_STATES = {"first": "exp_avg", "second": "exp_avg_sq", "largest": "max_exp_avg_sq"}
# Below this many parameters a thread, handing work to threads costs more than it saves.
_PARAMETERS_A_THREAD = 1 << 16


class _Arena(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "size")),
        *((name, ctypes.c_void_p) for name in ("theta", *_STATES, "previous", "mask")),
    )


class NativeUpdate:
    """Updates of an arena; see sweeper.optim.update.Update.

    Args:
        arena: of the pack.
        step: of the library.
        parameters_a_thread: rows are shared out to torch's number of threads as far as each then
            has so many parameters.
    """

    def __init__(
        self,
        arena: Arena,
        step: Callable[..., None],
        *,
        parameters_a_thread: int = _PARAMETERS_A_THREAD,
    ) -> None:
        tensors = {name: arena.state.get(state) for name, state in _STATES.items()}
        tensors |= {"previous": arena.previous, "mask": arena.decay_mask}
        pointers = {name: t.data_ptr() for name, t in tensors.items() if t is not None}
        rows, size = arena.theta.shape
        self._described = _Arena(rows=rows, size=size, theta=arena.theta.data_ptr(), **pointers)
        self._arena, self._step = arena, step
        threads = min(torch.get_num_threads(), rows, -(-rows * size // parameters_a_thread))
        bounds = [rows * i // threads for i in range(threads + 1)]
        self._spans = list(pairwise(bounds))
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def plain(self, grad: Tensor, coefficients: Tensor, *, clips_norm: bool) -> None:
        del clips_norm  # found out row by row
        self._run(grad, coefficients, None)

    def sampled(self, grad: Tensor, coefficients: Tensor) -> Tensor:
        said = grad.new_empty(len(NAMES), self._arena.capacity)
        self._run(grad, coefficients, said)
        return said

    def _run(self, grad: Tensor, coefficients: Tensor, said: Tensor | None) -> None:
        grad, coefficients = grad.contiguous(), coefficients.contiguous()
        assert grad.dtype == coefficients.dtype == self._arena.theta.dtype
        pointers = [None if t is None else t.data_ptr() for t in (grad, coefficients, said)]

        def run(span: tuple[int, int]) -> None:
            self._step(self._described, *span, *pointers)

        others = [] if self._pool is None else [self._pool.submit(run, s) for s in self._spans[1:]]
        run(self._spans[0])
        for other in others:
            other.result()


def native_update(arena: Arena) -> NativeUpdate | None:
    """The update in C++; None for other rules, devices and dtypes, and without a compiler."""
    real = _REALS.get(arena.theta.dtype)
    if arena.rule.name != "adam" or arena.theta.device.type != "cpu" or real is None:
        return None
    defines: dict[str, Any] = {
        "REAL": real,
        "HAS_LARGEST": int("max_exp_avg_sq" in arena.state),
        "HAS_PREVIOUS": int(arena.previous is not None),
        "HAS_MASK": int(arena.decay_mask is not None),
        **{f"IS_{name}": place for place, name in enumerate(names(arena.rule))},
        **{f"SAYS_{name}": place for place, name in enumerate(NAMES)},
    }
    library = load(_SOURCE, defines)
    if library is None:
        return None
    step = library.step
    step.argtypes = [ctypes.POINTER(_Arena), *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 3]
    step.restype = None
    return NativeUpdate(arena, step)
