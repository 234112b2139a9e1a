"""What a launch will do: lanes, slots, run-steps, disk, and what may make it impossible."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from sweeper.errors import SweepError, nearest, one_of
from sweeper.lane import capacity, probe_cost
from sweeper.lane.capacity import Measurement
from sweeper.lane.lane import LaneSettings
from sweeper.lane.pack import Machine
from sweeper.lane.probe_cost import ProbeCost
from sweeper.optim.arena import extras_of
from sweeper.optim.configuration import Configuration, parse
from sweeper.optim.decay import decay_mask
from sweeper.space import corners
from sweeper.spec import SweepSpec
from sweeper.study.trials import open_trials_limit
from sweeper.tasks.examine import examine
from sweeper.tasks.own_loop import OwnLoop
from sweeper.tasks.registry import TaskName
from sweeper.tasks.task import Task

# Parquet of the trajectories, measured: loss of every step, all other series of every tenth.
_BYTES_PER_STEP = {"float32": 5.2, "float64": 10.0}


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
    steps = runs * spec.horizon
    return Size(spec.budget.trials, runs, steps, steps * _BYTES_PER_STEP[spec.dtype] / 1e6)


def task_name(spec: SweepSpec) -> TaskName:
    return TaskName(spec.task, spec.task_args, spec.task_options)


def with_loaders(spec: SweepSpec, machine: Machine) -> Machine:
    """The machine with the processes that load batches."""
    auto = 4 if machine.device.startswith("cuda") else 0
    count = auto if spec.lanes.loaders == "auto" else int(spec.lanes.loaders)
    return replace(machine, workers=count)


def is_own_loop(spec: SweepSpec) -> bool:
    """Whether the task trains itself, one run at a time."""
    return isinstance(task_name(spec).load(), OwnLoop)


def typical(spec: SweepSpec) -> Configuration:
    """A configuration of the space, whose program is measured."""
    return parse(next(corners(spec.parsed_space)))


def extras(spec: SweepSpec) -> frozenset[str]:
    """The hyperparameters with state of their own that any run of the sweep may set."""
    everything = [*corners(spec.parsed_space), *spec.baselines]
    return extras_of(parse(configuration) for configuration in everything)


def check_task(spec: SweepSpec) -> None:
    """Build and try the task; refuse what of the spec doesn't fit it: `no_decay`, `objective`.

    Of an own loop nothing more is known before it runs.
    """
    task = task_name(spec).load()
    if isinstance(task, OwnLoop):
        return
    examine(task)
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
    """Runs that a lane will have at once at most, and in words what limits them."""
    limit = open_trials_limit(spec)
    trials = min(limit or spec.budget.trials, spec.budget.trials)
    runs = trials * spec.first_seeds
    why = f"{runs:,} runs over {lanes} lanes"
    if limit is not None:
        why = (
            f"{spec.search.sampler} learns from finished trials, so about {limit} of "
            f"{spec.budget.trials:,} are open at once: {why}"
        )
    return max(1, math.ceil(runs / lanes)), why


def candidates(spec: SweepSpec, lanes: int, device: str) -> tuple[list[int], str]:
    """Capacities to measure, and in words what limits them."""
    if is_own_loop(spec):
        return [1], "an own loop trains one run at a time"
    if spec.lanes.slots != "auto":
        return [int(spec.lanes.slots)], "as the spec says"
    useful, why = useful_slots(spec, lanes)
    return capacity.ladder(useful, device, waves=open_trials_limit(spec) is None), why


def measure(spec: SweepSpec, capacities: list[int], machine: Machine) -> list[Measurement]:
    """Run-steps per second of each capacity; nothing where there is no choice."""
    if len(capacities) < 2:
        return []
    return capacity.measure(task_name(spec), typical(spec), capacities, machine, extras(spec))


def choose_slots(spec: SweepSpec, lanes: int, machine: Machine) -> dict[str, Any]:
    """The capacity of every lane, measured here, and why: `capacity` and `why`."""
    capacities, why = candidates(spec, lanes, machine.device)
    measured = measure(spec, capacities, machine)
    best = capacity.choose(measured) if measured else capacities[0]
    return capacity.explain(best, measured, why)


def measure_probes(spec: SweepSpec, slots: int, machine: Machine) -> ProbeCost:
    """What probing a run costs, measured here; nothing where runs aren't probed."""
    if not spec.stability.probe or is_own_loop(spec):
        return ProbeCost(0, 0.0)
    return probe_cost.measure(
        task_name(spec), typical(spec), spec.horizon, slots, machine, extras(spec)
    )


def lane_settings(spec: SweepSpec, slots: int, machine: Machine) -> LaneSettings:
    """What every lane is told."""
    lanes = spec.lanes
    return LaneSettings(
        task=task_name(spec),
        capacity=slots,
        machine=with_loaders(spec, machine),
        limits=spec.stability.limits(),
        horizon=spec.horizon,
        extras=extras(spec),
        update_cosine=spec.record.update_cosine,
        stress_horizon=spec.probed_steps,
        report_rungs=spec.pruning.by_rungs,
        metrics=tuple(one.name for one in spec.objectives if not one.is_loss),
        save_s=lanes.save,
        silence_s=lanes.silence,
        patience_s=lanes.patience,
    )


def halved(capacity: int, why: str) -> dict[str, Any]:
    """The capacity after one for which memory didn't suffice, and why."""
    return {"capacity": capacity // 2, "why": f"memory didn't suffice for {capacity}: {why}"}
