"""The run made once more, to look at where it ends: curvature, gradient, losses in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sweeper.lane.pack import SAMPLE_EVERY, Machine, Pack
from sweeper.lane.probe_log import Measurement, ProbeLog
from sweeper.lane.probing import Probing
from sweeper.lane.run import Run
from sweeper.optim.arena import extras_of
from sweeper.optim.array import Array
from sweeper.optim.catalog import SERIES
from sweeper.optim.configuration import parse
from sweeper.stability.verdict import RunFacts
from sweeper.tasks.parts import each, tensors
from sweeper.tasks.task import Task

_CHUNK = 500
_LOOKED_AT = 2048  # samples of a loss in eval mode
_BATCHES = 32  # of a mean gradient
_LOSS = SERIES.index("loss")
# Of the training data, held out in a second run: to tell overfitting from a mismatch.
_TENTH = 10


@dataclass(frozen=True, slots=True)
class End:
    """Where a run ends.

    Args:
        loss: `[T]`; the run's own up to the rounding of another number of slots.
        cosine: `[T / 10]` of successive updates.
        curvature: of the batch of probes; None where it can't be probed.
        trouble: why not.
        gradient, first_gradient: norm of the mean gradient over up to 32 batches, at the end and
            at the start.
        train_loss: in eval mode, of up to 2,048 samples.
        metrics: of the task's evaluate.
    """

    loss: Array
    cosine: Array
    curvature: Measurement | None
    trouble: str | None
    gradient: float
    first_gradient: float
    train_loss: float
    metrics: Mapping[str, float]


class _EndLog(ProbeLog):
    """Takes one probe, with the whole spectrum."""

    measured: Measurement | None = None

    @property
    def wants_spectrum(self) -> bool:
        return True

    def take(self, step: int, measured: Measurement, vector: Tensor) -> None:
        del step, vector
        self.measured = measured


def make(task: Task, run: Run, machine: Machine, told: Callable[[int], None]) -> End:
    """Train it alone, from its seed.

    Args:
        told: hears how many steps are made.
    """
    configuration = parse(run.config)
    pack = Pack(
        task,
        configuration.program,
        1,
        machine,
        extras=extras_of([configuration]),
        update_cosine=True,
    )
    slot = pack.place(run)
    # Probed before the last update: after it there is no lr.
    pieces = [_trained(pack, slot, (run.horizon - 1) // SAMPLE_EVERY * SAMPLE_EVERY, told)]
    facts = RunFacts(run.horizon, 0, task.epoch_steps, 0.0)
    log = _EndLog(configuration, facts, run.horizon, full_batch=task.batch_size is None)
    probing = Probing(task, 1, machine)
    if not len(pieces[0]) or np.isfinite(pieces[0][-1, _LOSS]):
        if len(pieces[0]):
            probing.take(pack, [slot], [log])
            probing.flush()
        pieces.append(_trained(pack, slot, run.horizon, told))
    series = np.concatenate(pieces)
    model = pack.model(slot).cpu()
    start = task.initial(run.seed).to(next(model.parameters()).dtype)
    return End(
        loss=series[:, _LOSS],
        cosine=series[::SAMPLE_EVERY, SERIES.index("update_cosine")],
        curvature=log.measured,
        trouble=probing.trouble,
        gradient=gradient_norm(task, model, run, run.horizon),
        first_gradient=gradient_norm(task, start, run, 0),
        train_loss=eval_loss(task, model),
        metrics=pack.evaluate(slot) if task.evaluate is not None else {},
    )


def unseen_tenth(task: Task, run: Run, machine: Machine, told: Callable[[int], None]) -> float:
    """The loss of a tenth of the training data, drawn at random, that a run hasn't seen."""
    chosen = np.random.default_rng([run.seed, _TENTH]).permutation(task.size)
    unseen, seen = chosen[: task.size // _TENTH], chosen[task.size // _TENTH :]

    def part(of: np.ndarray) -> Any:
        places = torch.from_numpy(np.sort(of))
        return tuple(each(lambda one: one[places], one) for one in task.data)

    less = replace(task, data=part(seen))
    configuration = parse(run.config)
    pack = Pack(less, configuration.program, 1, machine, extras=extras_of([configuration]))
    slot = pack.place(run)
    _trained(pack, slot, run.horizon, told)
    return eval_loss(replace(task, data=part(unseen), batch_size=None), pack.model(slot).cpu())


def _trained(pack: Pack, slot: int, until: int, told: Callable[[int], None]) -> np.ndarray:
    """Series `[n, S]` of the only run, up to a step or to what isn't finite."""
    pieces = [np.empty((0, len(SERIES)))]
    while (made := pack.step_of(slot)) < until:
        piece = pack.train(min(_CHUNK, until - made))[:, :, slot]
        pieces.append(piece.astype(np.float64))
        told(pack.step_of(slot))
        if not np.isfinite(piece[-1, _LOSS]):
            break
    return np.concatenate(pieces)


def gradient_norm(task: Task, model: nn.Module, run: Run, step: int) -> float:
    """Norm of the mean gradient over the batches of the epoch that follows a step."""
    count = min(task.epoch_steps, _BATCHES)
    model.train()
    model.zero_grad()
    for batch in range(count):
        inputs, targets = _cast(task.batch(run.seed, step + batch), model)
        with task.step(run.seed, step + batch):
            (task.loss(model(*tensors(inputs)), targets) / count).backward()
    squares = [p.grad.square().sum() for p in model.parameters() if p.grad is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def eval_loss(task: Task, model: nn.Module) -> float:
    """The training loss in eval mode."""
    if task.in_memory:
        count = task.size if task.batch_size is None else min(task.size, _LOOKED_AT)
        places = torch.from_numpy(np.linspace(0, task.size - 1, count).astype(np.int64))
        inputs, targets = (each(lambda one: one[places], part) for part in task.data)
    else:
        inputs, targets = task.batch(0, 0)
    inputs, targets = _cast((inputs, targets), model)
    model.eval()
    with torch.no_grad():
        return float(task.loss(model(*tensors(inputs)), targets))


def _cast(batch: Any, model: nn.Module) -> Any:
    dtype = next(model.parameters()).dtype
    return tuple(
        each(lambda one: one.to(dtype) if one.is_floating_point() else one, part) for part in batch
    )
