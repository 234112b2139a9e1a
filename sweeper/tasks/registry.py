"""Tasks by name: the bundled ones, and a user's own as `package.module:factory`.

A factory whose first parameter is named `trial` is an own loop: it isn't called to build a task.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sweeper.errors import SweepError, nearest, one_of
from sweeper.tasks.importing import called, imported
from sweeper.tasks.own_loop import OwnLoop

if TYPE_CHECKING:
    from sweeper.tasks.task import Task

BUNDLED = {
    "perceptron": "1000 weights, 64 points, full batch: Adam climbs back after thousands of steps",
    "logistic": "separable points, full batch: the loss falls towards 0 for ever",
    "digits": "64-64-10 network on 8 x 8 digits, mini-batches of 64, held-out accuracy",
    "digits_cnn": "two convolutions on the same digits",
    "char_lm": "small GPT on Python's help texts, characters, held-out loss",
    "multitask": "an object in an image: presence, orientation, magnitude, position at once",
    "valley": "two parameters: steep across, flat along",
    "saddle": "two parameters: a saddle, or a narrow and a wide minimum",
}
_TRIAL = "trial"
_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class TaskName:
    """A task by name and arguments: plain data that any process can build.

    Args:
        name: of a bundled task, or `package.module:factory`.
        args: of the factory.
        options: fields of the Task that the sweep sets in place of the factory, e.g. batch_size.
    """

    name: str
    args: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Task:
        """The task itself (imports torch). Raises SweepError as `load`, and for an own loop."""
        return refuse_own_loop(self.load())

    def load(self) -> Task | OwnLoop:
        """The task, or the own loop. Raises SweepError as `check` does."""
        factory = check(self.name, self.args)
        if _is_own_loop(factory):
            return self._own_loop(OwnLoop(train=partial(factory, **self.args)))
        built = called(factory, self.name, dict(self.args))
        if isinstance(built, OwnLoop):
            return self._own_loop(built)
        return with_options(built, self.name, self.options)

    def _own_loop(self, loop: OwnLoop) -> OwnLoop:
        for option in self.options:
            raise SweepError(
                f"{self.name!r} is an own loop, which has no {option} that a sweep could set",
                where=option,
                cure="Make it an argument of the loop: task_args.",
            )
        return loop


def refuse_own_loop(found: Task | OwnLoop) -> Task:
    """The task; raises SweepError where it is an own loop."""
    if isinstance(found, OwnLoop):
        raise SweepError(
            "this is a training loop of its own, which can't be packed",
            where="task",
            allowed="a function that returns a sweeper.Task",
        )
    return found


def with_options(built: Any, name: str, options: Mapping[str, Any]) -> Task:
    """What a factory gave, checked, with the fields that the sweep sets."""
    from sweeper.tasks.task import Task  # loads torch

    if not isinstance(built, Task):
        raise SweepError(
            f"{name!r} returns {type(built).__name__}",
            where="task",
            allowed="a sweeper.Task, or a training loop whose first parameter is named trial",
        )
    return replace(built, **options) if options else built


def check(name: str, args: Mapping[str, Any]) -> Callable[..., Any]:
    """The factory of a task, or the own loop, its arguments checked against the signature.

    Raises:
        SweepError: no such task, a module that doesn't import, a missing or unknown argument.
    """
    factory = _factory(name)
    known = dict(inspect.signature(factory).parameters)
    if _is_own_loop(factory):
        del known[_TRIAL]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for key in args:
        if key not in known and not takes_any:
            raise SweepError(
                f"task {name!r} has no argument {key!r}",
                where="task_args",
                allowed=one_of(known) or "none",
                cure=nearest(key, known),
            )
    for key, parameter in known.items():
        is_plain = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if is_plain and parameter.default is parameter.empty and key not in args:
            raise SweepError(f"task {name!r} needs the argument {key!r}", where="task_args")
    return factory


def _is_own_loop(factory: Callable[..., Any]) -> bool:
    return next(iter(inspect.signature(factory).parameters), "") == _TRIAL


def _factory(name: str) -> Callable[..., Any]:
    if name in BUNDLED:
        build: Callable[..., Task] = importlib.import_module(f"sweeper.tasks.bundled.{name}").build
        return build
    if not _FACTORY.fullmatch(name):
        raise SweepError(
            f"unknown task {name!r}",
            where="task",
            allowed=f"{one_of(BUNDLED)}, or package.module:factory",
            cure=nearest(name, BUNDLED),
        )
    return imported(name)
