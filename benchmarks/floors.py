"""Whole packed steps against what the processor and its memory would allow, one thread.

    python -m benchmarks.floors

For every task: a step, its parts, and two floors. `compute` is the arithmetic of the model's
matrix products, forward and backward, at the rate of one large product; `memory` is the traffic of
parameters, gradient and optimizer state (40 bytes per parameter: read forward, read backward,
gradient written, 28 for the update) at the rate of a copy as large as these tensors together. A
step can't be faster than the larger of the two; `share` is that floor over the step. Needs torch,
numpy, pyarrow and safetensors alone; the last line is one JSON object.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import character_lm, convolution
from benchmarks.fused_step import interleaved
from sweeper.lane.memory import use_huge_pages
from sweeper.lane.pack import Machine, Pack
from sweeper.lane.run import Run
from sweeper.optim.configuration import parse
from sweeper.tasks.registry import TaskName
from sweeper.tasks.task import Task

_BYTES = 40
_STEPS = 50  # of one round
_ROUNDS = 9
_CASES: tuple[tuple[str, Callable[[], Task], tuple[int, ...]], ...] = (
    ("perceptron", lambda: TaskName("perceptron", {}).build(), (1, 16, 64)),
    ("digits", lambda: TaskName("digits", {}).build(), (1, 16, 64)),
    ("character_lm", character_lm.build, (1, 8)),
    ("convolution", convolution.build, (1, 8, 32)),
)


def main() -> None:
    """Measure every task at every capacity and print."""
    torch.set_num_threads(1)
    use_huge_pages()
    gflops = product_rate()
    print(f"one large matrix product: {gflops:.0f} GFLOP/s")
    rows = []
    for name, build, capacities in _CASES:
        for capacity in capacities:
            rows.append({"task": name, "K": capacity, **measure(build(), capacity, gflops)})
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    print(json.dumps({"torch": torch.__version__, "gflops": round(gflops), "rows": rows}))


def measure(task: Task, capacity: int, gflops: float) -> dict[str, float]:
    """Microseconds of a step, its parts and its floors."""
    pack = Pack(task, parse({}).program, capacity, Machine(), extras=frozenset())
    for slot in range(capacity):
        pack.place(Run(slot, slot, {"lr": 1e-4}, slot, 1_000_000))
    pack.train(20)  # compiles
    parts = interleaved(
        {
            "step": lambda: _trained(pack),
            "gradient": lambda: _gradients(pack),
            "update": lambda: _updates(pack),
        },
        calls=1,
        device="cpu",
    )
    step, gradient, update = (parts[name] * 1e6 / _STEPS for name in parts)
    size = pack.arena.theta.shape[1]
    compute = capacity * step_flops(task) / gflops / 1e3
    traffic = _BYTES * capacity * size
    memory = traffic / copy_rate(4 * 4 * capacity * size) / 1e3
    return {
        "P": size,
        "step_us": round(step, 1),
        "gradient_us": round(gradient, 1),
        "update_us": round(update, 1),
        "rest_us": round(step - gradient - update, 1),
        "compute_floor_us": round(compute, 1),
        "memory_floor_us": round(memory, 1),
        "share": round(max(compute, memory) / step, 2),
        "run_steps_s": round(capacity / step * 1e6),
    }


def step_flops(task: Task) -> float:
    """Floating-point operations of the matrix products of one model's step."""
    model = task.initial(0)
    inputs, targets = task.batch(0, 0)
    with FlopCounterMode(display=False) as counter:
        task.loss(model(inputs), targets).backward()
    return float(counter.get_total_flops())


def product_rate() -> float:
    """GFLOP/s of a product of 1024 x 1024 matrices."""
    one, other = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return 2 * 1024**3 / _time(lambda: one @ other) / 1e3


def copy_rate(size: int) -> float:
    """GB/s read and written by copies within `size` bytes."""
    source = torch.zeros(max(size // 8, 1))
    target = torch.empty_like(source)
    calls = max(1, 2**22 // source.numel())

    def copies() -> None:
        for _ in range(calls):
            target.copy_(source)

    return 8 * source.numel() * calls / _time(copies) / 1e3


def _trained(pack: Pack) -> None:
    pack.train(_STEPS)


def _gradients(pack: Pack) -> None:
    with torch.no_grad(), pack._step.hot("plain", "sampled"):
        for batch in pack._feed.steps(pack._places(), _STEPS):
            pack._step._gradient(batch)


def _updates(pack: Pack) -> None:
    grad = torch.full_like(pack.arena.theta, 1e-3)  # zeros would end in denormal moments
    table = pack.arena.coefficients(_STEPS)
    for i in range(_STEPS):
        if i % pack.sample_every:
            pack._step._update.plain(grad, table[i], clips_norm=False)
        else:
            pack._step._update.sampled(grad, table[i])


def _time(call: Callable[[], object]) -> float:
    """Median microseconds."""
    call()
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1e6)
    return median(times)


if __name__ == "__main__":
    main()
