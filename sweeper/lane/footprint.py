"""How much memory a slot takes, measured, and how many slots fit into what is free."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from sweeper.lane.memory import give_memory_back, is_lack_of_memory
from sweeper.lane.pack import Machine, Pack
from sweeper.lane.run import Run
from sweeper.optim.configuration import Configuration
from sweeper.tasks.task import Task

# Two packs whose difference is what their slots take.
_SMALL, _LARGE = 1, 3
# Share of the free memory that is left alone: probes, batches of a long chunk, other processes.
_MARGIN = 0.25
_KIB = 1024
_PROC = Path("/proc/self")
# Limit and use of a container: cgroup v2, and v1.
_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes at the peak of a step.

    Args:
        fixed: of a pack, whatever its capacity.
        slot: of each of its slots; infinite where not even few fit.
    """

    fixed: float
    slot: float

    def of(self, capacity: int, packs: int = 1) -> float:
        """Bytes of so many packs."""
        return packs * (self.fixed + capacity * self.slot)

    def most(self, free: float, packs: int) -> int:
        """The capacity that so many packs can have within so many free bytes, at least 1."""
        left = free * (1 - _MARGIN) / packs - self.fixed
        return max(1, int(left / self.slot)) if self.slot else 2**30


def measure(
    task: Task,
    typical: Configuration,
    machine: Machine,
    extras: frozenset[str] | None = None,
) -> Footprint:
    """Train two small packs for a moment, uncompiled: compiled code keeps fewer tensors."""
    eager = Machine(machine.device, machine.dtype, compiled=False)
    try:
        (small, state), (large, _) = (
            _peak(task, typical, capacity, eager, extras) for capacity in (_SMALL, _LARGE)
        )
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        return Footprint(0.0, math.inf)
    # Small packs fit into memory that the process has anyway: then their state is known at least.
    slot = max((large - small) / (_LARGE - _SMALL), state / _SMALL)
    return Footprint(max(0.0, small - _SMALL * slot), slot)


def affordable(capacities: list[int], most: int) -> list[int]:
    """The capacities that fit; in place of those that don't the largest power of two that does."""
    fits = [one for one in capacities if one <= most]
    if len(fits) == len(capacities):
        return capacities
    return sorted({*fits, 2 ** int(math.log2(most))})[-3:]


def free_bytes(machine: Machine, share: float) -> float | None:
    """Memory that a lane may take; None where that can't be known.

    Args:
        share: of the lane in the memory of its host or GPU.
    """
    if machine.torch_device.type == "cuda":
        free, total = torch.cuda.mem_get_info(machine.torch_device)
        return min(float(free), share * total)
    free_here = _meminfo()
    if free_here is None:
        return None
    return share * min([free_here, *_container()])


def _peak(
    task: Task,
    typical: Configuration,
    capacity: int,
    machine: Machine,
    extras: frozenset[str] | None,
) -> tuple[float, float]:
    """Bytes that a pack takes at most while it trains, and bytes of its state."""
    give_memory_back()
    before = _begin_peak(machine)
    pack = Pack(task, typical.program, capacity, machine, extras=extras)
    for index in range(capacity):
        pack.place(Run(index, index, typical.to_dict(), 0, 1_000_000_000))
    pack.train(1)  # with its statistics: the largest of all steps
    tensors = [pack.arena.theta, *pack.arena.state.values(), *pack.arena.own.values()]
    return _end_peak(machine) - before, float(sum(tensor.nbytes for tensor in tensors))


def _begin_peak(machine: Machine) -> float:
    """Bytes in use now; from now on the peak is noted."""
    device = machine.torch_device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return float(torch.cuda.memory_allocated(device))
    with suppress(OSError):  # where it can't be reset, an older peak makes both packs look alike
        (_PROC / "clear_refs").write_text("5")
    return _status("VmRSS")


def _end_peak(machine: Machine) -> float:
    device = machine.torch_device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device))
    return _status("VmHWM")


def _status(name: str) -> float:
    """Bytes of a line of the kernel's status of this process; 0 where there is none."""
    return _line(_PROC / "status", name) or 0.0


def _meminfo() -> float | None:
    return _line(Path("/proc/meminfo"), "MemAvailable")


def _line(path: Path, name: str) -> float | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    found = (line.split() for line in lines if line.startswith(f"{name}:"))
    return next((float(words[1]) * _KIB for words in found), None)


def _container() -> list[float]:
    """What the limit of a container leaves, where there is one."""
    found: list[float] = []
    for limit, used in _LIMITS:
        try:
            found.append(float(limit.read_text()) - float(used.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return [max(0.0, one) for one in found]
