"""All findings of a trial, in the order of the guide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.errors import SweepError
from sweeper.lane.pack import Machine
from sweeper.lane.run import Run
from sweeper.optim.configuration import parse
from sweeper.results.diagnose import endpoint, guide, late
from sweeper.results.diagnose.endpoint import End
from sweeper.results.diagnose.evidence import Evidence, gather
from sweeper.results.diagnose.finding import OPEN, Finding
from sweeper.results.sweep import SweepHandle
from sweeper.stability.limits import Limits
from sweeper.stability.verdict import RunFacts, Verdict
from sweeper.tasks.own_loop import OwnLoop
from sweeper.tasks.registry import TaskName
from sweeper.tasks.variants import Variants
from sweeper.training import machine_for

Told = Callable[[str, int, int], None]
"""Hears what is trained, and how many steps of how many are made."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found of one trial."""

    evidence: Evidence
    end: End | None
    findings: list[Finding]


def diagnose(
    handle: SweepHandle,
    trial: int | None = None,
    *,
    trains: bool = True,
    smaller: Mapping[str, Any] | None = None,
    told: Told = lambda what, made, of: None,
) -> Diagnosis:
    """Look at the worst run of a trial.

    Args:
        trial: its number; default the first baseline.
        trains: make the run once more, to look at its end.
        smaller: arguments of the task that make a smaller model, to be trained alike.
        told: hears of the progress.

    Raises:
        SweepError: no such trial; a task that can't be built.
    """
    evidence = gather(handle, trial)
    task = TaskName(handle.spec.task, handle.spec.task_args, handle.spec.task_options)
    variants, run = Variants(task), evidence.run
    is_own = isinstance(variants.load(parse(run.config).variant), OwnLoop)
    if smaller and (is_own or not trains):
        why = "a loop of its own" if is_own else "--records trains nothing"
        raise SweepError(f"a smaller model can't be tried: {why}", where="--smaller")
    findings = [late.stability(evidence)]
    findings += [found for found in (late.mechanism(evidence),) if found is not None]
    machine = machine_for(None, handle.spec.dtype)
    end, tail = None, None
    if trains and not is_own:
        end = _made(variants, run, machine, told)
        if smaller:
            tail = _tail_of(variants, smaller, run, machine, told)
    findings += [guide.training_loss(evidence, tail)]
    if end is not None:
        findings.append(guide.critical_point(evidence, end))
    findings.append(guide.steps(evidence, end))
    if end is not None:
        unseen = _unseen(variants, run, machine, told, end)
        found = guide.held_out(evidence, end, unseen)
        findings += [] if found is None else [found]
    if is_own:
        findings.append(
            Finding("And the curvature?", "A loop of its own can't be made once more.", "", OPEN)
        )
    return Diagnosis(evidence, end, findings)


def _made(variants: Variants, run: Run, machine: Machine, told: Told) -> End:
    task = variants.of(parse(run.config).variant)
    return endpoint.make(task, run, machine, lambda made: told("the run", made, run.horizon))


def _unseen(variants: Variants, run: Run, machine: Machine, told: Told, end: End) -> float | None:
    """The loss of a tenth that wasn't seen, where what was held out is worse."""
    task = variants.of(parse(run.config).variant)
    loss = end.metrics.get("held_out_loss")
    enough = task.in_memory and task.size - task.size // 10 >= (task.batch_size or 1)
    if loss is None or loss <= guide.WORSE * end.train_loss or not enough:
        return None
    return endpoint.unseen_tenth(
        task, run, machine, lambda made: told("without a tenth", made, run.horizon)
    )


def _tail_of(
    variants: Variants, smaller: Mapping[str, Any], run: Run, machine: Machine, told: Told
) -> float | None:
    """The tail loss of a smaller model, trained alike."""
    own = run.config.get("task_args", {})
    config = {**run.config, "task_args": {**own, **smaller}}
    built = variants.of(parse(config).variant)
    other = Run(run.id, run.trial, config, run.seed, run.horizon)
    end = endpoint.make(
        built, other, machine, lambda made: told("a smaller model", made, run.horizon)
    )
    facts = RunFacts(run.horizon, 0, built.epoch_steps, built.floor(machine.eps, 1.0))
    verdict = Verdict(facts, Limits())
    verdict.update(end.loss.astype(np.float64))
    tail = verdict.result().get("tail_loss")
    return None if tail is None else float(tail)
