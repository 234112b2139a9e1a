"""The variants of a task that the configurations of a sweep want, each built once."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

from sweeper.errors import SweepError
from sweeper.optim.variant import PLAIN, Variant
from sweeper.tasks.own_loop import OwnLoop
from sweeper.tasks.registry import TaskName, refuse_own_loop
from sweeper.tasks.task import Task


def shared(name: TaskName) -> Variants:
    """The variants of a task by name: the same ones until another name comes, or `forget`.

    A factory may read a large data set: what a process plans with is what it trains.

    Args:
        name: of plain values, as a spec has them.
    """
    return _shared(json.dumps([name.name, dict(name.args), dict(name.options)]))


@lru_cache(maxsize=1)
def _shared(key: str) -> Variants:
    return Variants(TaskName(*json.loads(key)))


def forget() -> None:
    """Let go of what `shared` holds: a launch begins anew, or others train."""
    _shared.cache_clear()


class Variants:
    """A task and its variants. Those that differ in their batch size share their data.

    Args:
        task: by name, or itself: then its factory is not known, and takes no arguments.
    """

    def __init__(self, task: TaskName | Task) -> None:
        self._task = task
        self._by_args: dict[str, Task | OwnLoop] = {}
        self._built: dict[Variant, Task | OwnLoop] = {}

    def of(self, variant: Variant = PLAIN) -> Task:
        """The task of a variant; the task itself by default.

        Raises:
            SweepError: as `load`; or it is an own loop, which isn't built.
        """
        found = self.load(variant)
        return refuse_own_loop(found)

    def load(self, variant: Variant = PLAIN) -> Task | OwnLoop:
        """The task of a variant, or the own loop; a batch size changes nothing of that.

        Raises:
            SweepError: a batch larger than the data, arguments that the factory doesn't take.
        """
        if variant not in self._built:
            self._built[variant] = self._build(variant)
        return self._built[variant]

    def _build(self, variant: Variant) -> Task | OwnLoop:
        task = self._by_args.get(variant.task_args)
        if task is None:
            task = self._by_args[variant.task_args] = self._make(variant)
        if isinstance(task, OwnLoop) or variant.batch_size in (None, task.batch_size):
            return task
        return replace(task, batch_size=variant.batch_size)

    def _make(self, variant: Variant) -> Task | OwnLoop:
        name = self._task
        if isinstance(name, TaskName):
            return replace(name, args={**name.args, **variant.args}).load()
        if variant.task_args:
            raise SweepError(
                "a task that is built has no arguments any more",
                where="task_args",
                cure="Give its factory's name: package.module:factory.",
            )
        return name
