"""What this machine offers for sweeps, what is missing, and what that costs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

# Where another minor version may change what is trained or proposed.
_DECIDING = ("torch", "optuna", "numpy")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    good: bool
    text: str


def examine() -> Iterator[Finding]:
    """Look at devices, compiler and packages."""
    import torch

    from sweeper.optim.compiler import missing_compiler
    from sweeper.study.provenance import versions

    yield Finding("cores", True, f"{os.cpu_count()}: one lane each")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            yield Finding("GPU", True, f"{torch.cuda.get_device_name(index)} (cuda:{index})")
    else:
        yield Finding("GPU", True, "none is visible to torch: lanes run on the CPU cores")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    missing = missing_compiler(device)
    cost = "steps run uncompiled, several times slower, with the same results"
    text = f"{missing}: {cost}" if missing else "torch.compile finds what it needs"
    yield Finding("compiler", not missing, text)
    for name, version in versions().items():
        yield Finding(name, version != "not installed", version)


def compare(there: Iterable[Finding]) -> Iterator[Finding]:
    """What another machine says of itself, with the versions that differ from those here.

    Args:
        there: what `examine` found on it.
    """
    from sweeper.study.provenance import versions

    here = versions()
    for one in there:
        own = here.get(one.name)
        if own is None or own == one.text:
            yield one
            continue
        is_alike = own.split(".")[:2] == one.text.split(".")[:2]
        cost = "" if is_alike or one.name not in _DECIDING else ": a sweep may give other numbers"
        yield replace(one, good=one.good and not cost, text=f"{one.text} there, {own} here{cost}")
