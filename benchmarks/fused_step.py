"""The packed update against torch's own fused AdamW over the same number of parameters.

    python -m benchmarks.fused_step [--device cuda]

K rows of P parameters, every row with hyperparameters of its own, one thread, float32. Rates count
28 bytes per parameter (gradient read; parameters and two moments read and written). `ratio` is
packed over torch; `ratio_with_stats` the same with all statistics in every step; `copy_gb_s` what
the memory gives to a plain copy. Medians of interleaved rounds. Needs torch and numpy alone; the
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from sweeper.lane.memory import use_huge_pages
from sweeper.optim.arena import Arena
from sweeper.optim.configuration import parse
from sweeper.optim.rules import RULES
from sweeper.optim.step import Step

_SIZES = ((64, 1_000), (64, 100_000), (16, 1_000_000))
_BYTES = 28
_ROUNDS = 11
_BYTES_A_ROUND = 1.5e9


def main() -> None:
    """Measure every size and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    device = parser.parse_args().device
    torch.set_num_threads(1)
    use_huge_pages()  # for all sides
    rows = []
    for capacity, size in _SIZES:
        rows.append(measure(capacity, size, device))
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    print(json.dumps({"device": name, "threads": torch.get_num_threads(), "rows": rows}))


def measure(capacity: int, size: int, device: str) -> dict[str, float]:
    """GB/s of every side, and ratios."""
    grad = torch.randn(capacity, size, device=device) * 1e-2
    rates = interleaved(
        {
            "packed": packed(capacity, size, grad, sampled=False),
            "with_stats": packed(capacity, size, grad, sampled=True),
            "torch": fused(grad),
            "copy": copying(grad),
        },
        calls=max(2, round(_BYTES_A_ROUND / (_BYTES * capacity * size))),
        device=device,
    )
    elements = capacity * size / 1e9
    rate = {name: _BYTES * elements / seconds for name, seconds in rates.items()}
    return {
        "K": capacity,
        "P": size,
        "packed_gb_s": round(rate["packed"], 1),
        "torch_fused_gb_s": round(rate["torch"], 1),
        "copy_gb_s": round(8 * elements / rates["copy"], 1),
        "ratio": round(rate["packed"] / rate["torch"], 2),
        "ratio_with_stats": round(rate["with_stats"] / rate["torch"], 2),
    }


def interleaved(
    sides: dict[str, Callable[[], None]], *, calls: int, device: str
) -> dict[str, float]:
    """Median seconds of one call of each side."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(_ROUNDS + 1):  # the first round compiles
        for name, call in sides.items():
            started = time.perf_counter()
            for _ in range(calls):
                call()
            if device == "cuda":
                torch.cuda.synchronize()
            times[name].append((time.perf_counter() - started) / calls)
    return {name: median(found[1:]) for name, found in times.items()}


def packed(capacity: int, size: int, grad: Tensor, *, sampled: bool) -> Callable[[], None]:
    """One step of a pack of AdamW runs whose gradient is there already."""
    arena = Arena.empty(RULES["adam"], capacity, (size,), device=grad.device, extras=())
    for slot in range(capacity):
        config = {"optimizer": "adamw", "lr": 1e-6 * (1 + slot), "schedule": "cosine"}
        arena.start(slot, torch.randn(size), parse(config), horizon=1_000_000)
    step = Step(arena, lambda theta, grad: (grad, theta[:, 0] * 0), compiled=True)
    (coefficients,) = arena.coefficients(1)

    def call() -> None:
        if sampled:
            step.sampled(coefficients, grad)
        else:
            step.plain(coefficients, grad, clips_norm=False)

    return call


def fused(grad: Tensor) -> Callable[[], None]:
    """torch's fused AdamW over one flat tensor of the same size."""
    parameter = torch.nn.Parameter(torch.randn(grad.numel(), device=grad.device))
    parameter.grad = grad.flatten().clone()
    optimizer = torch.optim.AdamW([parameter], lr=1e-6, fused=True)

    def call() -> None:
        optimizer.step()

    return call


def copying(grad: Tensor) -> Callable[[], None]:
    """A copy of that size."""
    target = torch.empty_like(grad)

    def call() -> None:
        target.copy_(grad)

    return call


if __name__ == "__main__":
    main()
