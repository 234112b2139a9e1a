"""Exported optax and Keras scripts train as sweeper does, or the export is refused."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import export_cases as ec
import numpy as np
import pytest

from sweeper.errors import SweepError
from sweeper.results.export.registry import render

# optax in float64 (torch's NAdam keeps a product in float32); Keras rounds float64 to float32 in
# some of its operations. Clipping to a norm: torch divides by norm + 1e-6, the others by the norm.
_CLOSE = {"optax": 1e-9, "keras": 1e-5}
_CLOSE_CLIPPED = 1e-5
_REFUSED = {
    "optax": {"adamw_pattern", "cyclical_momentum", "onecycle_beta1"},
    "keras": {
        "adai", "adaiw", "adamw_pattern", "cyclical_momentum", "lion_sign_of_gradient",
        "onecycle_beta1",
    },
}  # fmt: skip
# Compiling costs seconds a case.
_ON_JAX = ("adam_l2_mask", "adamw_mask", "adam_eps_hat", "nadam", "radam", "stable_adamw", "sgd",
           "sgd_nesterov_wsd", "sgd_dampening", "adagrad", "rmsprop_centered", "lion_decay",
           "clip_value")  # fmt: skip
_RUNS = [
    *(("optax", "jax", case) for case in ec.CASES if case not in _REFUSED["optax"]),
    *(("keras", "torch", case) for case in ec.CASES if case not in _REFUSED["keras"]),
    *(("keras", "jax", case) for case in _ON_JAX),
]


@functools.cache
def _results(target: str, backend: str) -> dict[str, list[float]]:
    cases = [case for one, other, case in _RUNS if (one, other) == (target, backend)]
    scripts = {case: render(ec.found(ec.CASES[case]), target) for case in cases}
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run_exported.py")), target],
        input=json.dumps(scripts),
        capture_output=True,
        text=True,
        env=environment | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"},
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(("target", "backend", "case"), _RUNS)
def test_trains_as_sweeper(target: str, backend: str, case: str) -> None:
    for package in {target, backend}:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (extra: exports)")
    close = _CLOSE_CLIPPED if case.startswith("clip_norm") else _CLOSE[target]
    assert ec.distance(case, np.array(_results(target, backend)[case])) < close


@pytest.mark.parametrize("target", _REFUSED)
def test_what_is_refused(target: str) -> None:
    for case in _REFUSED[target]:
        with pytest.raises(SweepError) as caught:
            render(ec.found(ec.CASES[case]), target)
        assert caught.value.what.startswith(f"{target} can't express")
        assert caught.value.cure == "Export it as another format: torch."
