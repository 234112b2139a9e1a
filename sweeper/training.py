"""`sweeper.train`: exactly these runs, in packs, in this process; their trajectories come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from sweeper.errors import SweepError
from sweeper.lane.loop_pack import LoopPack
from sweeper.lane.pack import Machine, Pack
from sweeper.lane.run import Run
from sweeper.optim.arena import extras_of
from sweeper.optim.catalog import SERIES
from sweeper.optim.compiler import can_compile
from sweeper.optim.configuration import Configuration, Program, check_horizon, parse
from sweeper.optim.decay import decay_mask
from sweeper.tasks.own_loop import OwnLoop
from sweeper.tasks.registry import TaskName
from sweeper.tasks.task import Task
from sweeper.tasks.variants import Variants

# Capacities that `slots=None` picks from: few, so that compiled code is found again.
_LADDER = (1, 4, 16, 64)
_CHUNK = 250


@dataclass(frozen=True, slots=True)
class Trajectories:
    """What the runs did. Runs are ordered configs x seeds (all seeds of the first config first).

    Args:
        runs: configuration and seed of every run.
        loss: `(runs, steps)` training loss before each update; NaN after a run turned non-finite.
        grad_norm, update_rms, lr, param_norm, eps_dominance, grad_surprise, update_cosine:
            `(runs, steps)`, see sweeper.optim.statistics; NaN between the samples, and where the
            update rule has no such thing.
        evaluations: metrics of the task's `evaluate` at the end of every run.
    """

    runs: list[tuple[dict[str, Any], int]]
    loss: np.ndarray
    grad_norm: np.ndarray
    update_rms: np.ndarray
    lr: np.ndarray
    param_norm: np.ndarray
    eps_dominance: np.ndarray
    grad_surprise: np.ndarray
    update_cosine: np.ndarray
    evaluations: list[dict[str, float]] = field(default_factory=list)


def train(
    task: str | TaskName | Task | Variants,
    configs: Sequence[Mapping[str, Any]],
    *,
    seeds: Sequence[int] = (0,),
    horizon: int,
    slots: int | None = None,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    compiled: bool = True,
    sample_every: int = 1,
    loaders: int = 0,
) -> Trajectories:
    """Train every configuration on every seed and return the trajectories.

    Args:
        task: a name (`perceptron`, `digits`, `package.module:factory`, also of an own loop), a
            TaskName or a Task; or Variants, which are built once whoever asks.
        configs: e.g. `{"optimizer": "adam", "lr": 1e-3, "schedule": {"kind": "cosine"}}`; they may
            have a `batch_size` and `task_args` of their own.
        seeds: of initial parameters and batches, ints >= 0.
        horizon: steps of every run, >= 1.
        slots: runs trained at once; at one value a run's numbers don't depend on the other runs.
            Default: the smallest of 1, 4, 16, 64 that holds all of one program. Own loops
            run one by one.
        device: `cpu`, `cuda`, `cuda:N`; default a GPU where there is one.
        dtype: `float32` (default) or `float64`.
        compiled: False trains eagerly, for debuggers.
        sample_every: steps between two samples of everything but the loss, which has every step.
        loaders: processes that load the batches of a torch Dataset ahead; the results don't depend
            on it.

    Raises:
        SweepError: anything wrong in the arguments, before a step is made.
    """
    machine = replace(machine_for(device, dtype, compiled=compiled), workers=loaders)
    parsed = [parse(config, f"configs[{i}]") for i, config in enumerate(configs)]
    _check_numbers(seeds, horizon, slots, sample_every)
    if isinstance(loaders, bool) or not isinstance(loaders, int) or loaders < 0:
        raise SweepError(f"{loaders!r}", where="loaders", allowed="an int >= 0")
    for i, configuration in enumerate(parsed):
        check_horizon(configuration, horizon, f"configs[{i}].schedule")
    named = TaskName(task, {}) if isinstance(task, str) else task
    variants = named if isinstance(named, Variants) else Variants(named)
    loaded = [_variant(variants, one, f"configs[{i}]") for i, one in enumerate(parsed)]
    for i, (configuration, one) in enumerate(zip(parsed, loaded, strict=True)):
        if isinstance(one, Task):
            decay_mask(one.initial(0), configuration.no_decay, f"configs[{i}].no_decay")
    pairs = [(configuration, seed) for configuration in parsed for seed in seeds]
    runs = [
        Run(
            id=i, trial=i // len(seeds), config=configuration.to_dict(), seed=seed, horizon=horizon
        )
        for i, (configuration, seed) in enumerate(pairs)
    ]
    series = np.full((len(runs), len(SERIES), horizon), np.nan, dtype=machine.dtype)
    evaluations: list[dict[str, float]] = [{} for _ in runs]
    if any(isinstance(one, OwnLoop) for one in loaded):
        assert isinstance(named, TaskName)
        _train_loops(named, runs, machine, sample_every, series, evaluations)
    else:
        settings = {"extras": extras_of(parsed), "sample_every": sample_every}
        _train_packs(variants, runs, machine, slots, settings, series, evaluations)
    labels = [(dict(run.config), run.seed) for run in runs]
    return Trajectories(
        runs=labels, evaluations=evaluations, **{n: series[:, i] for i, n in enumerate(SERIES)}
    )


def machine_for(
    device: str | None, dtype: str | torch.dtype | None, *, compiled: bool = True
) -> Machine:
    """The machine of these names, checked; compiled only where a compiler is found."""
    name = str(dtype or "float32").removeprefix("torch.")
    if name not in ("float32", "float64"):
        raise SweepError(f"{name!r}", where="dtype", allowed="float32, float64")
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(chosen)
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError) as error:
        message = str(error).splitlines()[0]
        raise SweepError(
            f"device {chosen!r}: {message}", where="device", allowed="cpu, cuda, cuda:N"
        ) from error
    return Machine(chosen, name, compiled and can_compile(target))


def _variant(variants: Variants, configuration: Configuration, where: str) -> Task | OwnLoop:
    """The task as a configuration has it; what is wrong with it is said with its place."""
    try:
        return variants.load(configuration.variant)
    except SweepError as error:
        is_own = error.where.partition(".")[0] in configuration.variant.to_dict()
        where = f"{where}.{error.where}" if is_own else error.where
        raise SweepError(
            error.what, where=where, allowed=error.allowed, cure=error.cure
        ) from error


def _check_numbers(
    seeds: Sequence[int], horizon: int, slots: int | None, sample_every: int
) -> None:
    if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1:
        raise SweepError(f"{horizon!r}", where="horizon", allowed="an int of steps >= 1")
    if slots is not None and (not isinstance(slots, int) or slots < 1):
        raise SweepError(f"{slots!r}", where="slots", allowed="an int >= 1")
    if isinstance(sample_every, bool) or not isinstance(sample_every, int) or sample_every < 1:
        raise SweepError(f"{sample_every!r}", where="sample_every", allowed="an int >= 1")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise SweepError(f"{seed!r}", where="seeds", allowed="ints >= 0")


def _train_packs(
    variants: Variants,
    runs: list[Run],
    machine: Machine,
    slots: int | None,
    settings: Mapping[str, Any],
    series: np.ndarray,
    evaluations: list[dict[str, float]],
) -> None:
    """Train runs program by program."""
    by_program: dict[Program, list[Run]] = {}
    for run in runs:
        by_program.setdefault(parse(run.config).program, []).append(run)
    for program, chosen in by_program.items():
        capacity = slots or next((k for k in _LADDER if k >= len(chosen)), _LADDER[-1])
        task = variants.of(program.variant)
        pack = Pack(task, program, capacity, machine, update_cosine=True, **settings)
        _train_all(pack, chosen, series, evaluations)


def _train_loops(
    task: TaskName,
    runs: list[Run],
    machine: Machine,
    sample_every: int,
    series: np.ndarray,
    evaluations: list[dict[str, float]],
) -> None:
    """Train runs of an own loop, in folders that don't stay."""
    with TemporaryDirectory(prefix="sweeper-") as folder:
        pack = LoopPack(task, Path(folder), machine, sample_every=sample_every)
        try:
            _train_all(pack, runs, series, evaluations)
        finally:
            pack.close()


def _train_all(
    pack: Pack | LoopPack,
    runs: list[Run],
    series: np.ndarray,
    evaluations: list[dict[str, float]],
) -> None:
    """Train runs to their end, refilling slots; fills `series[run]` and `evaluations[run]`."""
    waiting = list(reversed(runs))
    by_id = {run.id: run for run in runs}
    most = max(1, _CHUNK // pack.sample_every) * pack.sample_every
    while waiting or pack.runs():
        while waiting and pack.free:
            pack.place(waiting.pop())
        starts = {run: pack.step_of(slot) for run, slot in pack.runs().items()}
        chunk = pack.train(min(most, max(by_id[r].horizon - s for r, s in starts.items())))
        for run, slot in pack.runs().items():
            stop = pack.step_of(slot)
            piece = chunk[: stop - starts[run], :, slot].T
            bad = np.flatnonzero(~np.isfinite(piece[0]))
            piece = piece[:, : bad[0]] if bad.size else piece
            series[run, :, starts[run] : starts[run] + piece.shape[1]] = piece
            if bad.size or stop == by_id[run].horizon:
                evaluations[run] = {} if bad.size else pack.evaluate(slot)
                pack.remove(slot)
