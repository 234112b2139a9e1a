"""Compile a C++ file for this processor, once, and load it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sweeper.optim.compiler import cxx

# No fused multiply-adds: the results are those of torch's own operations, on every processor.
# `openmp-simd` lets marked sums be vectorised and needs no library.
_FLAGS = (
    *("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fopenmp-simd"),
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
)
_PATIENCE_S = 120


def load(source: Path, defines: Mapping[str, str | int]) -> ctypes.CDLL | None:
    """The library of a source file compiled with these macros; None where that can't be had.

    It is kept in the user's cache folder by its source, flags, compiler and processor; two
    processes that compile it at once don't get in each other's way. Warns where a compiler is
    there and fails.
    """
    options = tuple(f"-D{name}={value}" for name, value in sorted(defines.items()))
    try:
        return _load(source, options)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        warnings.warn(
            f"{source.name} can't be compiled ({said[0] if said else error!r}): "
            "the updates run through torch, slower, with the same results",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


@cache
def _load(source: Path, options: tuple[str, ...]) -> ctypes.CDLL | None:
    compiler = cxx()
    if compiler is None:
        return None
    # What the compiler predefines names its version and every instruction set it will use.
    target = _run(compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull)
    key = hashlib.sha256("\0".join([source.read_text(), *_FLAGS, *options, target]).encode())
    library = _folder() / f"{source.stem}-{key.hexdigest()[:24]}.so"
    if not library.exists():
        aside = library.with_suffix(f".{os.getpid()}.so")
        try:
            _run(compiler, *_FLAGS, *options, str(source), "-o", str(aside))
            aside.replace(library)
        finally:
            aside.unlink(missing_ok=True)
    return ctypes.CDLL(str(library))


def _run(*command: str) -> str:
    done = subprocess.run(  # noqa: S603 (the user's own compiler, no shell)
        command, capture_output=True, text=True, check=True, timeout=_PATIENCE_S
    )
    return done.stdout


@cache
def _folder() -> Path:
    """Where libraries are kept: the user's cache folder, or one of this process alone."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "sweeper"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # no home
        pass
    return Path(tempfile.mkdtemp(prefix="sweeper-"))
