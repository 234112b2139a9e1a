"""What a launch will do: lanes, slots, run-steps, disk, and what may make it impossible."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any

import torch

from sweeper.errors import SweepError, nearest, one_of
from sweeper.horizon import Horizon
from sweeper.lane import capacity, footprint, probe_cost
from sweeper.lane.capacity import Measurement
from sweeper.lane.footprint import Footprint
from sweeper.lane.pack import Machine
from sweeper.lane.packs import MOST_PACKS
from sweeper.lane.probe_cost import ProbeCost
from sweeper.lane.settings import LaneSettings
from sweeper.optim.arena import extras_of
from sweeper.optim.configuration import Configuration, parse
from sweeper.optim.decay import decay_mask
from sweeper.runtime.variants import built, task_name
from sweeper.space import corners, programs
from sweeper.spec import SweepSpec
from sweeper.study.programs import count_programs, queues
from sweeper.study.trials import open_trials_limit
from sweeper.tasks.examine import examine
from sweeper.tasks.own_loop import OwnLoop
from sweeper.tasks.task import Task
from sweeper.tasks.variants import shared

# Parquet of the trajectories, measured: loss of every step, all other series of every tenth.
_BYTES_PER_STEP = {"float32": 5.2, "float64": 10.0}
# Programs that are looked at for the largest one.
_MOST_SIZED = 50


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a sweep."""

    trials: int
    runs: int
    run_steps: int
    disk_mb: float


def size(spec: SweepSpec) -> Size:
    """Trials, runs, run-steps and disk of the whole budget."""
    runs = spec.budget.trials * len(spec.seed_list)
    # As if every batch size were searched as often.
    steps = round(runs * sum(spec.lengths) / len(spec.lengths))
    return Size(spec.budget.trials, runs, steps, steps * _BYTES_PER_STEP[spec.dtype] / 1e6)


def with_loaders(spec: SweepSpec, machine: Machine) -> Machine:
    """The machine with the processes that load batches."""
    auto = 4 if machine.device.startswith("cuda") else 0
    count = auto if spec.lanes.loaders == "auto" else int(spec.lanes.loaders)
    return replace(machine, workers=count)


def is_own_loop(spec: SweepSpec) -> bool:
    """Whether the task trains itself, one run at a time."""
    return isinstance(shared(task_name(spec)).load(typical(spec).variant), OwnLoop)


def typical(spec: SweepSpec) -> Configuration:
    """A configuration of the space, whose program is measured."""
    return parse(next(corners(spec.parsed_space)))


def extras(spec: SweepSpec) -> frozenset[str]:
    """The hyperparameters with state of their own that any run of the sweep may set."""
    everything = [*corners(spec.parsed_space), *spec.baselines]
    return extras_of(parse(configuration) for configuration in everything)


def check_task(spec: SweepSpec) -> None:
    """Build and try the task, and refuse what of the spec doesn't fit it.

    Raises:
        SweepError: a model that fails or can't be packed, a batch size or arguments of a
            configuration, the size of the data in the horizon, `no_decay`, `objective`.
    """
    seen: set[str] = set()
    for variant, task in built(spec):
        if isinstance(task, OwnLoop):
            continue  # nothing more is known before it runs
        examine(task)
        if isinstance(spec.horizon, Horizon) and spec.horizon.dataset != task.size:
            raise SweepError(
                f"{spec.horizon.dataset} samples, and the task has {task.size}",
                where="horizon.dataset",
                cure="The data have changed: begin a new sweep (--set name=...).",
            )
        if variant.task_args not in seen:  # a batch size changes nothing of the model
            seen.add(variant.task_args)
            check_no_decay(spec, task)
            check_objective(spec, task)


def check_objective(spec: SweepSpec, task: Task) -> None:
    """Refuse a metric that the task doesn't return: an untrained model is evaluated once."""
    wanted = [one.name for one in spec.objectives if not one.is_loss]
    if not wanted:
        return
    known = _metrics(task) if task.evaluate is not None else []
    for name in wanted:
        if name not in known:
            raise SweepError(
                f"task {spec.task!r} returns no metric {name!r}",
                where="objective",
                allowed=one_of(["robust_loss", *known]),
                cure=nearest(name, known) if known else "Give the task an `evaluate`.",
            )


def _metrics(task: Task) -> list[str]:
    assert task.evaluate is not None
    try:
        with torch.no_grad():
            metrics = task.evaluate(task.initial(0).eval())
            return [str(name) for name in metrics]
    except Exception as error:
        raise SweepError(
            f"the task's evaluate fails on an untrained model: {type(error).__name__}: {error}",
            where="task",
        ) from error


def check_no_decay(spec: SweepSpec, task: Task) -> None:
    """Refuse a pattern of `no_decay` that no parameter of the task's model matches."""
    given = {parse(one).no_decay: "space.no_decay" for one in corners(spec.parsed_space)}
    given |= {parse(one).no_decay: "baseline.no_decay" for one in spec.baselines}
    model = task.initial(0)
    for patterns, where in given.items():
        decay_mask(model, patterns, where)


def useful_slots(spec: SweepSpec, lanes: int) -> tuple[int, str]:
    """Runs of one program that a lane will have at once, and in words what limits them."""
    limit = open_trials_limit(spec)
    trials = min(limit or spec.budget.trials, spec.budget.trials)
    runs = trials * spec.first_seeds
    why = f"{runs:,} runs over {lanes} lanes"
    if limit is not None:
        why = (
            f"{spec.search.sampler} learns from finished trials, so about {limit} of "
            f"{spec.budget.trials:,} are open at once: {why}"
        )
    count = count_programs(spec)
    if count > 1:
        why += f", of {count} programs"
    return max(1, math.ceil(runs / lanes / queues(count))), why


def candidates(spec: SweepSpec, lanes: int, machine: Machine) -> tuple[list[int], str]:
    """Capacities to measure, and in words what limits them."""
    if is_own_loop(spec):
        return [1], "an own loop trains one run at a time"
    if spec.lanes.slots != "auto":
        return [int(spec.lanes.slots)], "as the spec says"
    useful, why = useful_slots(spec, lanes)
    ladder = capacity.ladder(useful, machine.device, waves=open_trials_limit(spec) is None)
    free = footprint.free_bytes(machine, memory_share(spec, lanes, machine))
    if free is None:
        return ladder, why
    packs = min(count_programs(spec), MOST_PACKS)
    most = measure_footprint(spec, machine).most(free, packs)
    fits = footprint.affordable(ladder, most)
    if fits != ladder:
        why = f"no more than {most} fit into {free / 1e9:,.1f} GB of free memory; {why}"
    return fits, why


def memory_share(spec: SweepSpec, lanes: int, machine: Machine) -> float:
    """Share of a lane in the memory of its GPU, or of its host: a core has a lane at most."""
    if machine.torch_device.type == "cuda":
        share = spec.lanes.gpus
        return 1.0 if share == "auto" or not 0 < share < 1 else float(share)
    return 1 / max(1, min(lanes, os.cpu_count() or 1))


def measure_footprint(spec: SweepSpec, machine: Machine) -> Footprint:
    """Memory of the packs of the largest variant: most parameters, then largest batch."""
    every = programs(spec.parsed_space)
    variants = shared(task_name(spec))

    def size(place: int) -> tuple[int, int]:
        task = variants.of(every[place][0].variant)
        model = task.initial(0)
        return sum(p.numel() for p in model.parameters()), task.batch_size or task.size

    largest = max(range(len(every[:_MOST_SIZED])), key=size)
    program, config = every[largest]
    task = variants.of(program.variant)
    return footprint.measure(task, parse(config), machine, extras(spec))


def measure(spec: SweepSpec, capacities: list[int], machine: Machine) -> list[Measurement]:
    """Run-steps per second of each capacity; nothing where there is no choice."""
    if len(capacities) < 2:
        return []
    one = typical(spec)
    task = shared(task_name(spec)).of(one.variant)
    return capacity.measure(task, one, capacities, machine, extras(spec))


def choose_slots(spec: SweepSpec, lanes: int, machine: Machine) -> dict[str, Any]:
    """The capacity of every lane, measured here, and why: `capacity` and `why`."""
    capacities, why = candidates(spec, lanes, machine)
    measured = measure(spec, capacities, machine)
    best = capacity.choose(measured) if measured else capacities[0]
    return capacity.explain(best, measured, why)


def measure_probes(spec: SweepSpec, slots: int, machine: Machine) -> ProbeCost:
    """What probing a run costs, measured here; nothing where runs aren't probed."""
    if not spec.stability.probe or is_own_loop(spec):
        return ProbeCost(0, 0.0)
    one = typical(spec)
    task = shared(task_name(spec)).of(one.variant)
    return probe_cost.measure(task, one, spec.steps(one.to_dict()), slots, machine, extras(spec))


def lane_settings(spec: SweepSpec, slots: int, machine: Machine) -> LaneSettings:
    """What every lane is told."""
    lanes = spec.lanes
    return LaneSettings(
        task=task_name(spec),
        capacity=slots,
        machine=with_loaders(spec, machine),
        limits=spec.stability.limits(),
        programs=1 if is_own_loop(spec) else count_programs(spec),
        extras=extras(spec),
        update_cosine=spec.record.update_cosine,
        stress_horizon=_looks(spec),
        report_rungs=spec.pruning.by_rungs,
        metrics=tuple(one.name for one in spec.objectives if not one.is_loss),
        save_s=lanes.save,
        silence_s=lanes.silence,
        patience_s=lanes.patience,
    )


def _looks(spec: SweepSpec) -> int | dict[int, int] | None:
    """Steps up to which forecasts look, by batch size where that decides."""
    if not spec.stability.probe:
        return None
    configs = [config for _, config in programs(spec.parsed_space)] + spec.baselines
    steps = {one.get("batch_size", 0): spec.stress_steps(one) for one in configs}
    return steps if len(set(steps.values())) > 1 else next(iter(steps.values()))


def halved(capacity: int, why: str) -> dict[str, Any]:
    """The capacity after one for which memory didn't suffice, and why."""
    return {"capacity": capacity // 2, "why": f"memory didn't suffice for {capacity}: {why}"}
