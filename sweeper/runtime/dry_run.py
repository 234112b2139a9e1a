"""What a launch would do, without doing it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from sweeper.lane import capacity
from sweeper.lane.footprint import free_bytes
from sweeper.lane.pack import Machine
from sweeper.lane.packs import MOST_PACKS
from sweeper.runtime import plan
from sweeper.runtime.launch import check
from sweeper.runtime.variants import resolve, task_name
from sweeper.space import Choice, Parameter, programs
from sweeper.spec import SweepSpec
from sweeper.study.programs import count_programs
from sweeper.tasks.variants import shared
from sweeper.training import machine_for


def describe(spec: SweepSpec) -> Iterator[str]:
    """Space, runs, run-steps, slots, disk and time, a line each; measures for some seconds.

    Raises:
        SweepError: whatever a launch would refuse.
    """
    spec = resolve(spec)
    folder = check(spec)
    size = plan.size(spec)
    machine = machine_for(None, spec.dtype)
    lanes = spec.lanes.count if spec.lanes.count != "auto" else os.cpu_count() or 1
    horizon = spec.horizon_text
    yield f"sweep      {spec.name}: task {spec.task}, horizon {horizon}, in {folder.path}"
    yield f"baselines  {len(spec.baselines)}"
    if spec.awaits_range_test:
        test = spec.lr_range
        yield (
            f"lr: auto   within {test.low:g} to {test.high:g}; a range test at the launch says "
            f"where: up to {test.settings} settings x {test.seeds} seeds x {test.steps} steps"
        )
    for parameter in spec.parsed_space.flat():
        yield f"searched   {_describe(parameter)}"
    yield f"runs       {size.trials:,} trials x {len(spec.seed_list)} seeds = {size.runs:,}"
    yield f"run-steps  {size.run_steps:,}"
    found = programs(spec.parsed_space)
    if len(found) > 1:
        yield f"programs   {len(found)}: runs of one share a pack"
    stress = spec.stress
    if stress.is_on:
        longest = stress.steps(spec.lengths[-1])
        most = f"{longest:,}" if len(spec.lengths) < 2 else f"up to {longest:,}"
        yield (
            f"stress     about {stress.budget * size.run_steps:,.0f} run-steps more: winners on "
            f"{stress.seeds} fresh seeds for {most} steps each"
        )
    if plan.is_own_loop(spec):
        yield from _own_loop(spec)
    else:
        yield from _measured(spec, int(lanes), machine)
    yield "Nothing was started."


def _measured(spec: SweepSpec, lanes: int, machine: Machine) -> Iterator[str]:
    """What is known when a pack has been trained for a moment."""
    capacities, why = plan.candidates(spec, lanes, machine)
    task = shared(task_name(spec)).of(plan.typical(spec).variant)
    measured = capacity.measure(task, plan.typical(spec), capacities, machine, plan.extras(spec))
    chosen = capacity.choose(measured)
    rate = next(one.rate for one in measured if one.capacity == chosen)
    yield f"slots      {chosen} a lane; {capacity.explain(chosen, measured, why)['why']}"
    yield f"memory     {_memory(spec, chosen, int(lanes), machine)}"
    probes = plan.measure_probes(spec, chosen, machine)
    cost = (
        f"{probes.probes} a run, about {probes.share:.1%} of its time" if probes.probes else "none"
    )
    yield f"probes     {cost}"
    share = _share(spec)
    yield _disk(spec)
    seconds = share * plan.size(spec).run_steps / (rate * lanes)
    yield f"time       about {seconds:,.0f} s on {lanes} lanes like this one, plus start-up"


def _own_loop(spec: SweepSpec) -> Iterator[str]:
    yield "slots      1 a lane: an own loop trains one run at a time"
    yield "probes     none: an own loop has no forecast"
    yield _disk(spec)
    yield "time       that of your loop, which isn't measured"


def _disk(spec: SweepSpec) -> str:
    return f"disk       about {_share(spec) * plan.size(spec).disk_mb:,.0f} MB of trajectories"


def _share(spec: SweepSpec) -> float:
    """Run-steps of the sweep by those of its search."""
    return 1 + (spec.stress.budget if spec.stress.is_on else 0)


def _memory(spec: SweepSpec, slots: int, lanes: int, machine: Machine) -> str:
    taken = plan.measure_footprint(spec, machine)
    packs = min(count_programs(spec), MOST_PACKS)
    free = free_bytes(machine, plan.memory_share(spec, lanes, machine))
    has = "" if free is None else f", of {free / 1e6:,.0f} MB that a lane may take"
    return (
        f"about {taken.slot / 1e6:,.2f} MB a slot, {taken.of(slots, packs) / 1e6:,.0f} MB for "
        f"{packs} packs of {slots}{has}"
    )


def _describe(parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        return f"{parameter.name}: one of {', '.join(str(o) for o in parameter.options)}"
    low, high = sorted(parameter.ends())
    return f"{parameter.name}: {parameter.kind.replace('_', '-')} in [{low:g}, {high:g}]"
