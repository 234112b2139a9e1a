"""torch.compile: whether it finds what it needs on this machine, and how it is called."""

from __future__ import annotations

import os
import shutil
import warnings
from types import FunctionType
from typing import Any

import torch


def compile_own(function: Any, name: str) -> Any:
    """The function compiled for fixed shapes, under a name, with a code object of its own.

    Dynamo caches by code object and gives up after a few shapes: functions that are made anew for
    every pack would share one.
    """
    code = function.__code__.replace(co_name=name)
    own = FunctionType(code, function.__globals__, name, None, function.__closure__)
    return torch.compile(own, dynamic=False, fullgraph=True)


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
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]
    if not any(shutil.which(name) for name in names):
        return f"no C++ compiler ({' or '.join(names)}) is on the PATH (install g++)"
    if device.type == "cuda" and not _has_triton():
        return "triton is not installed"
    return ""


def _has_triton() -> bool:
    from torch.utils._triton import has_triton

    return has_triton()
