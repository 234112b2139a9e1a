"""Whether torch.compile finds what it needs on this machine."""

from __future__ import annotations

import os
import shutil
import warnings

import torch


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
