"""Probes of the runs of a lane: copied when they are due, measured together in batches.

A probe belongs to one exact step, and runs come to theirs at different times. So the rows that are
due are copied and wait until a batch is full, or until somebody must know: their run is saved, has
ended or is due again. The values don't depend on who else is in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweeper.lane.pack import Machine, Pack
from sweeper.lane.probe_log import Measurement, ProbeLog
from sweeper.lane.probe_trial import trouble
from sweeper.optim import coefficients
from sweeper.optim.arena import Arena
from sweeper.optim.coefficients import Row
from sweeper.optim.step import Gradient
from sweeper.stability.curvature import Curvature, ProbePlan, ProbePoint
from sweeper.stability.prober import Prober
from sweeper.tasks.examine import examine
from sweeper.tasks.forward import Forward
from sweeper.tasks.gradient import context_of, packed_gradient
from sweeper.tasks.layout import Form
from sweeper.tasks.moving import moved_model
from sweeper.tasks.parts import each, moved
from sweeper.tasks.task import Task

# Rows of a batch, and parameters of all of them together: Lanczos holds them 16 times.
_MOST_ROWS, _MOST_PARAMETERS = 32, 4_000_000
# From the vector of the probe before: then 8 iterations leave about 1 % of error.
_SHARPNESS = ProbePlan(iterations=8, raw=False, trace_samples=0)
_SPECTRUM = ProbePlan(iterations=10, raw=True, trace_samples=2)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at the step where it is probed, on the device.

    Args:
        seed, step: of the run.
        log: gets what is found.
        lr: of the next update.
        theta: `[P]`.
        decay: `[P]`, L2 weight decay.
        root: `[P]`, square root of the second moment; None for rules that divide by nothing.
        eps: added to it.
        own: what the model has of its own beside parameters, in the order of its form.
    """

    seed: int
    step: int
    log: ProbeLog
    lr: float
    theta: Tensor
    decay: Tensor
    root: Tensor | None
    eps: float | None
    own: tuple[Tensor, ...] = ()


class Probing:
    """The probes of a lane.

    Args:
        task: what is trained.
        capacity: slots of the lane.
        machine: of its packs.
    """

    def __init__(self, task: Task, capacity: int, machine: Machine) -> None:
        form = examine(task, machine.device, machine.torch_dtype)
        size = sum(form.layout.sizes)
        self._rows = max(1, min(capacity, _MOST_ROWS, _MOST_PARAMETERS // size))
        model = moved_model(task.initial(0), machine.torch_device, machine.torch_dtype)
        theta = form.layout.flatten(model).expand(self._rows, -1).contiguous()
        own = [one.expand(self._rows, *one.shape) for one in form.own_of(model).values()]
        fixed = _fixed(task, machine)
        gradient = _decayed(_fixed_gradient(fixed, form, theta))
        alone = Forward(fixed, form, model), fixed.data
        # Second derivatives in bfloat16 are too rough to compare.
        compared = None if task.mixed_precision else alone
        self.trouble = form.trouble or trouble(gradient, theta, own, compared)
        self._prober = Prober(gradient, self._rows, _SHARPNESS, compiled=False)
        # By what a batch must have in common: a divisor, and a plan.
        self._waiting: dict[tuple[bool, bool], list[Snapshot]] = {}

    def take(self, pack: Pack, slots: Sequence[int], logs: Sequence[ProbeLog]) -> None:
        """Copy what is in these slots, for the logs of their runs; measures full batches."""
        for log in logs:
            log.trouble = self.trouble
            self.flush(log)
        if self.trouble is not None or not slots:
            return
        for shot in snapshots(pack, slots, logs):
            key = (shot.root is not None, shot.log.wants_spectrum)
            waiting = self._waiting.setdefault(key, [])
            waiting.append(shot)
            if len(waiting) == self._rows:
                self._measure(key)

    def flush(self, log: ProbeLog | None = None) -> None:
        """Measure what waits: of this run and whoever is in its batch, or of all."""
        for key, waiting in self._waiting.items():
            if waiting and (log is None or any(shot.log is log for shot in waiting)):
                self._measure(key)

    def forget(self, log: ProbeLog) -> None:
        """Leave out what waits of a run."""
        for key, waiting in self._waiting.items():
            self._waiting[key] = [shot for shot in waiting if shot.log is not log]

    def _measure(self, key: tuple[bool, bool]) -> None:
        shots, self._waiting[key] = self._waiting[key], []
        found = self._prober.probe(_point(shots), _SPECTRUM if key[1] else _SHARPNESS)
        vectors = found.sharpness_vector
        for at, (shot, measured) in enumerate(
            zip(shots, _measurements(found, shots), strict=True)
        ):
            shot.log.take(shot.step, measured, vectors[at].clone())


def snapshots(pack: Pack, slots: Sequence[int], logs: Sequence[ProbeLog]) -> list[Snapshot]:
    """What is in these slots; rows with values that aren't finite are left out."""
    arena, at = pack.arena, torch.tensor(slots, device=pack.arena.theta.device)
    rows = [row for slot in slots if (row := arena.rows[slot]) is not None]
    made, following = _coefficients(arena, rows)
    theta = arena.theta[at]
    coupled = made["coupled"] if arena.decay_mask is None else made["coupled"] * arena.decay_mask
    decay = coupled.expand_as(theta)
    root = None
    if arena.rule.root is not None:
        root = arena.rule.root({name: one[at] for name, one in arena.state.items()}, made)
    own = [arena.own[name][at] for name in pack.form.own]
    finite = torch.isfinite(theta if root is None else theta + root).all(1).tolist()
    eps = None if root is None else made["eps"][:, 0].tolist()
    return [
        Snapshot(
            seed=pack.seed_of(slot),
            step=rows[place].step,
            log=log,
            lr=float(following["lr"][place]),
            theta=theta[place],
            decay=decay[place],
            root=None if root is None else root[place],
            eps=None if eps is None else eps[place],
            own=tuple(one[place] for one in own),
        )
        for place, (slot, log) in enumerate(zip(slots, logs, strict=True))
        if finite[place]
    ]


def _coefficients(
    arena: Arena, rows: Sequence[Row]
) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """Those of the update before, `[R, 1]` on the device, and of the next one, `[R]` float64."""
    before = [replace(row, step=row.step - 1) for row in rows]
    table = coefficients.table(arena.rule, before, 2)
    names = coefficients.names(arena.rule)
    made = torch.from_numpy(table[0]).to(arena.theta)
    return (
        {name: made[place][:, None] for place, name in enumerate(names)},
        {name: table[1, place] for place, name in enumerate(names)},
    )


def _point(shots: Sequence[Snapshot]) -> ProbePoint:
    theta = torch.stack([shot.theta for shot in shots])
    roots = [shot.root for shot in shots if shot.root is not None]
    nothing = torch.zeros_like(theta[0])
    starts = [shot.log.vector for shot in shots]
    own = [torch.stack(of_all) for of_all in zip(*(shot.own for shot in shots), strict=True)]
    return ProbePoint(
        theta=theta,
        lr=torch.tensor([shot.lr for shot in shots], dtype=torch.float64),
        seeds=[(shot.seed, shot.step) for shot in shots],
        batch=(torch.stack([shot.decay for shot in shots]), *own),
        root=torch.stack(roots) if roots else None,
        eps=torch.tensor([shot.eps for shot in shots], dtype=torch.float64) if roots else None,
        sharpness_start=torch.stack(
            [nothing if start is None else start.to(theta) for start in starts]
        ),
    )


def _measurements(found: Curvature, shots: Sequence[Snapshot]) -> list[Measurement]:
    columns = (
        found.sharpness,
        found.moment_share,
        found.gradient_curvature,
        found.converged,
        found.top,
        found.bottom,
        found.trace,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [Measurement(shot.lr, shot.eps, *row) for shot, row in zip(shots, rows, strict=True)]


def _fixed_gradient(task: Task, form: Form, theta: Tensor) -> Gradient:
    """The gradient of a fixed task, of theta and own tensors; random layers are as at one step."""
    gradient = packed_gradient(task, form, theta, task.data, twice=True)
    model = moved_model(task.initial(0), theta.device, theta.dtype)

    def fixed(point: Tensor, *own: Tensor) -> tuple[Tensor, Tensor]:
        contexts = context_of(form, model, point)
        for context in contexts:
            copies = (one.clone() for one in own)  # a forward may change them
            context["own"] = dict(zip(form.own, copies, strict=True))
        return gradient(point, *contexts)

    return fixed


def _fixed(task: Task, machine: Machine) -> Task:
    """The task with data on the device that are the same at every step and for all runs."""
    task = replace(task, **_fixed_data(task))
    device, dtype = machine.torch_device, machine.torch_dtype
    inputs, targets = (moved(part, device, dtype) for part in task.data)
    return replace(task, data=(inputs, targets))


def _fixed_data(task: Task) -> dict[str, Any]:
    """The full batch, or one as large as that of a step: a product costs as much for any."""
    if task.in_memory and task.batch_size is None:
        return {}
    if not task.in_memory:
        return {"data": task.batch(0, 0), "batch_size": None, "packed_loss": None}
    chosen = np.linspace(0, task.size - 1, task.batch_size or 1).astype(int)
    inputs, targets = (each(lambda one: one[chosen], part) for part in task.data)
    return {"data": (inputs, targets), "batch_size": None, "packed_loss": None}


def _decayed(gradient: Gradient) -> Gradient:
    """With L2 weight decay of every parameter, so that the Hessian has it too."""

    def decayed(theta: Tensor, decay: Tensor, *own: Tensor) -> tuple[Tensor, Tensor]:
        found, loss = gradient(theta, *own)
        return found + decay * theta, loss

    return decayed
