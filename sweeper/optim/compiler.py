"""torch.compile as packs use it, and whether it finds what it needs on this machine."""

from __future__ import annotations

import os
import shutil
import warnings
from types import FunctionType
from typing import Any

import torch


def compile_for(kind: str, function: Any, *, compiled: bool) -> Any:
    """The function compiled by torch.compile for one kind of pack, or as it is."""
    if not compiled:
        return function
    # Dynamo caches by code object and gives up after a few shapes: give every pack its own.
    name = f"{function.__name__}_{kind}"
    code = function.__code__.replace(co_name=name)
    own = FunctionType(code, function.__globals__, name, None, function.__closure__)
    return torch.compile(own, dynamic=False, fullgraph=True)


class Traced:
    """A function of tensors, traced by make_fx at its first call and compiled.

    The trace holds what torch computes and nothing of the Python around it: so any model that can
    be packed can be compiled, whatever its forward does in Python. Shapes never change after.

    Args:
        function: takes and returns tensors, or dicts and tuples of them; may change them in place.
    """

    def __init__(self, function: Any) -> None:
        self._function = function
        self._compiled: Any = None

    def __call__(self, *args: Any) -> Any:
        if self._compiled is None:
            from torch.fx.experimental.proxy_tensor import make_fx  # loads for a second

            trace = make_fx(self._function, tracing_mode="fake", _allow_non_fake_inputs=True)
            graph = trace(*args)
            # The module itself would cost 10 us a call.
            self._compiled = torch.compile(graph.forward, dynamic=False, fullgraph=True)
        return self._compiled(*args)


def leave_alone(function: Any) -> None:
    """Have torch never compile a function's own frames, wherever it is called.

    torch.compiler.disable doesn't do: its check comes after the question whether to compile anew,
    which within `Step.hot` is an error.
    """
    from torch._dynamo.decorators import skip

    skip(function)


def cxx() -> str | None:
    """The C++ compiler of this machine: that of the variable CXX, else g++ or clang++."""
    return next((path for name in _cxx_names() if (path := shutil.which(name))), None)


def warm_up(device: torch.device) -> None:
    """Compile something small: loads the compiler's modules, which takes seconds, ahead of use."""
    torch.compile(lambda x: x + 1)(torch.zeros(8, device=device))


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile finds what it needs; warns once, with the cure, where it doesn't."""
    missing = missing_compiler(device)
    if missing:
        warnings.warn(
            f"{missing}: training uncompiled, several times slower, with the same results",
            RuntimeWarning,
            stacklevel=2,
        )
    return not missing


def missing_compiler(device: torch.device) -> str:
    """What torch.compile lacks on this machine, in words; empty when nothing."""
    if os.environ.get("TORCH_COMPILE_DISABLE") == "1":
        return "TORCH_COMPILE_DISABLE=1 is set"
    if cxx() is None:
        return f"no C++ compiler ({' or '.join(_cxx_names())}) is on the PATH (install g++)"
    if device.type == "cuda" and not _has_triton():
        return "triton is not installed"
    return ""


def _cxx_names() -> list[str]:
    return [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]


def _has_triton() -> bool:
    from torch.utils._triton import has_triton

    return has_triton()
