"""A whole sweep, side by side with what a user would pick instead, in one run on one machine.

    python -m benchmarks.throughput --task perceptron [--configs 1024]

Both sides search the same space (Adam: lr, eps, betas, amsgrad) with TPE, one seed a trial, at
the same horizon, one thread a process, one MLflow run with a thinned loss curve per trajectory, in
SQLite. The clock runs from the moment the Ray cluster is up to MLflow's last record. The plain
side runs fewer configurations: rates are compared. `plain_no_curve` is the tuned plain stack with
a single report per run. The last line is one JSON object of run-steps per second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before anything imports Ray or torch: worker processes inherit these.
os.environ["OMP_NUM_THREADS"] = "1"
_CACHE = tempfile.TemporaryDirectory(prefix="sweeper-bench-compile-")
os.environ["TORCHINDUCTOR_CACHE_DIR"] = _CACHE.name

from rich.console import Console

from benchmarks import alone, plain
from sweeper.runtime import launch


@dataclass(frozen=True, slots=True)
class Setting:
    """What one task is measured on."""

    horizon: int
    configs: int
    plain_tuned: int
    plain_default: int
    alone_steps: int


SETTINGS = {
    "perceptron": Setting(5000, 1024, 64, 16, 10_000),
    "digits": Setting(2000, 512, 96, 16, 5_000),
    "character_lm": Setting(1000, 64, 24, 6, 500),
    "convolution": Setting(1000, 96, 24, 6, 500),
}
# Where the tasks are that the package doesn't bundle.
_FACTORIES = {name: f"benchmarks.{name}:build" for name in ("character_lm", "convolution")}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=list(SETTINGS), required=True)
    parser.add_argument("--configs", type=int, help="configurations of the sweeper side")
    parser.add_argument("--task-args", type=json.loads, default={}, help="JSON")
    arguments = parser.parse_args()
    setting = SETTINGS[arguments.task]
    configs = arguments.configs or setting.configs
    with tempfile.TemporaryDirectory(prefix="sweeper-bench-") as folder:
        task = _FACTORIES.get(arguments.task, arguments.task)
        rates = measure(task, arguments.task_args, setting, configs, Path(folder))
    print(json.dumps(summary(arguments.task, rates)))


def measure(
    task: str, task_args: dict[str, Any], setting: Setting, configs: int, folder: Path
) -> dict[str, float]:
    """Run-steps per second of every side."""
    rates = {
        "alone": alone.alone(task, task_args, setting.alone_steps),
        "alone_compiled": alone.alone_compiled(task, task_args, setting.alone_steps),
    }
    show(rates)
    plain.start_ray()
    for name in ("sweeper_cold", "sweeper"):  # the first fills the compile cache for the second
        rates[name] = sweep_rate(spec_of(name, task, task_args, setting, configs, folder))
        show({name: rates[name]})
    for name, trials, tuned, reports in (
        ("plain_no_curve", setting.plain_tuned, True, 1),
        ("plain_tuned", setting.plain_tuned, True, plain.REPORTS),
        ("plain_default", setting.plain_default, False, plain.REPORTS),
    ):
        place = folder / name
        place.mkdir()
        found = plain.run_plain(task, task_args, setting.horizon, trials, place, tuned, reports)
        rates[name] = found.run_steps / found.seconds
        show({name: rates[name]})
    return rates


def spec_of(
    name: str, task: str, task_args: dict[str, Any], setting: Setting, configs: int, folder: Path
) -> dict[str, Any]:
    """The sweep: the same search as on the plain side."""
    return {
        "name": name,
        "task": task,
        "task_args": task_args,
        "horizon": setting.horizon,
        "seeds": 1,
        "space": {
            "optimizer": "adam",
            "lr": {"log_uniform": [1e-5, 1e-1]},
            "eps": {"log_uniform": [1e-10, 1.0]},
            "beta1": {"uniform": [0.5, 0.98]},
            "beta2": {"one_minus_log_uniform": [1e-4, 0.2]},
            "amsgrad": {"choice": [False, True]},
        },
        "search": {"sampler": "tpe", "seed": 0},
        "budget": {"trials": configs},
        "stress": {"top": 0},  # the other side has none
        "storage": str(folder),
    }


def sweep_rate(spec: dict[str, Any]) -> float:
    """Run-steps per second of a whole sweep, from the running cluster to MLflow's last record."""
    started = time.perf_counter()
    handle = launch.launch(spec, console=Console(stderr=True))
    seconds = time.perf_counter() - started
    ranking = handle.ranking()
    assert len(ranking) == spec["budget"]["trials"], "not every trial was told"
    database = handle.folder.database()
    steps = sum(row.step for row in database.runs())
    print(f"{spec['name']}: {seconds:.1f} s, {steps:,} run-steps", database.meta("slots"))
    database.close()
    return steps / seconds


def summary(task: str, rates: dict[str, float]) -> dict[str, Any]:
    """The last line."""
    order = (
        "sweeper",
        "sweeper_cold",
        "plain_tuned",
        "plain_default",
        "plain_no_curve",
        "alone",
        "alone_compiled",
    )
    return {
        "task": task,
        **{name: round(rates[name], 1) for name in order},
        "ratio_tuned": round(rates["sweeper"] / rates["plain_tuned"], 2),
        "ratio_default": round(rates["sweeper"] / rates["plain_default"], 2),
        "ratio_no_curve": round(rates["sweeper"] / rates["plain_no_curve"], 2),
        "machine": machine(),
    }


def machine() -> str:
    """Processor and number of cores."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {os.cpu_count()} cores"


def show(rates: dict[str, float]) -> None:
    for name, rate in rates.items():
        print(f"{name:15} {rate:>12,.0f} run-steps/s", flush=True)


if __name__ == "__main__":
    main()
