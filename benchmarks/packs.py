"""Run-steps per second of one pack by its number of slots, and of the model alone, on one device.

    python -m benchmarks.packs [--device cuda]

Needs torch, numpy, pyarrow and safetensors alone. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json

import torch

from benchmarks.alone import alone
from sweeper.lane import capacity
from sweeper.lane.memory import use_huge_pages
from sweeper.optim.configuration import parse
from sweeper.tasks.registry import BUNDLED, TaskName
from sweeper.training import machine_for

_SLOTS = {"cpu": (1, 4, 16, 64), "cuda": (1, 16, 64, 256, 1024, 4096)}


def main() -> None:
    """Measure every bundled task and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=list(_SLOTS))
    device = parser.parse_args().device
    torch.set_num_threads(1)
    use_huge_pages()
    machine = machine_for(device, "float32")
    rates: dict[str, dict[str, float]] = {}
    for task in BUNDLED:
        rates[task] = {"alone_cpu": round(alone(task, {}, 2000))}
        for slots in _SLOTS[device]:
            (found,) = capacity.measure(TaskName(task, {}).build(), parse({}), [slots], machine)
            rates[task][str(slots)] = round(found.rate)
            print(f"{task:12} {slots:5} slots {found.rate:12,.0f} run-steps/s", flush=True)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu, 1 thread"
    print(json.dumps({"device": name, "torch": torch.__version__, "rates": rates}))


if __name__ == "__main__":
    main()
