"""The model alone: one run in one process on one thread; no search, no records, no reports."""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.plain import SEED, mini_batches
from sweeper.lane.memory import one_thread
from sweeper.tasks.registry import TaskName
from sweeper.tasks.task import Task

_REPEATS = 3
_WARM_UP = 30  # steps; torch.compile is done after the first few

Batch = tuple[Tensor, Tensor]
Step = Callable[[Tensor, Tensor], object]


def alone(task: str, task_args: Mapping[str, Any], steps: int) -> float:
    """Run-steps/s with eager torch and the fused Adam; median of 3 repeats of `steps` steps."""
    with one_thread():
        built = TaskName(task, task_args).build()
        model = built.initial(SEED)
        step = _step(_loss_of(built, model), torch.optim.Adam(model.parameters(), fused=True))
        return _speed(step, built, steps)


def alone_compiled(task: str, task_args: Mapping[str, Any], steps: int) -> float:
    """Run-steps/s with model and loss compiled, as `alone`.

    The better of two optimizers: the fused one, and one that is compiled as well. On a CPU the
    bundled tasks are slower this way than eager, though nothing recompiles after the warm-up.
    """
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
    with one_thread():
        built = TaskName(task, task_args).build()
        return max(_compiled(built, steps, whole) for whole in (False, True))


def _compiled(task: Task, steps: int, whole: bool) -> float:
    # Each form gets a fresh compiler: recompilation limits count over the life of the process.
    torch.compiler.reset()
    model = task.initial(SEED)
    loss = torch.compile(_loss_of(task, model))
    optimizer = torch.optim.Adam(model.parameters(), fused=not whole, foreach=whole or None)
    if whole:
        optimizer.step = torch.compile(optimizer.step)  # type: ignore[method-assign]
    return _speed(_step(loss, optimizer), task, steps)


def _loss_of(task: Task, model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        return task.loss(model(inputs), targets)

    return loss


def _step(loss: Callable[[Tensor, Tensor], Tensor], optimizer: torch.optim.Adam) -> Step:
    def step(inputs: Tensor, targets: Tensor) -> None:
        optimizer.zero_grad()
        loss(inputs, targets).backward()
        optimizer.step()

    return step


def _speed(step: Step, task: Task, steps: int) -> float:
    batches = mini_batches(task, SEED)
    _seconds(step, batches, _WARM_UP)
    return steps / statistics.median(_seconds(step, batches, steps) for _ in range(_REPEATS))


def _seconds(step: Step, batches: Iterator[Batch], steps: int) -> float:
    start = time.perf_counter()
    for inputs, targets in islice(batches, steps):
        step(inputs, targets)
    return time.perf_counter() - start


def main() -> None:
    """Measures one task both ways and prints one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="perceptron")
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()
    eager = alone(args.task, {}, args.steps)
    compiled = alone_compiled(args.task, {}, args.steps)
    print(f"{args.task}: {eager:.4g} run-steps/s eager, {compiled:.4g} compiled")


if __name__ == "__main__":
    main()
