"""What of a configuration changes the task itself: batch size, and arguments of its factory."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from sweeper.errors import SweepError, shown
from sweeper.optim.hyperparameters import join

KEYS = ("batch_size", "task_args")
BATCH_SIZE_DOC = "samples a step; default the task's own. Each value is a program of its own"
TASK_ARGS_DOC = "arguments of the task, by name. Each value is a program of its own"


class Variant(NamedTuple):
    """A task as one configuration wants it, hashable.

    Args:
        batch_size: samples a step; None is the task's own.
        task_args: arguments of the factory beside those of the sweep, as JSON; "" for none.
    """

    batch_size: int | None = None
    task_args: str = ""

    @property
    def args(self) -> dict[str, Any]:
        """The arguments in plain values."""
        args: dict[str, Any] = json.loads(self.task_args) if self.task_args else {}
        return args

    def to_dict(self) -> dict[str, Any]:
        """What of it is set, in the user's vocabulary."""
        found: dict[str, Any] = {} if self.batch_size is None else {"batch_size": self.batch_size}
        return found | ({"task_args": self.args} if self.task_args else {})


# The task as it is.
PLAIN = Variant()


def take_variant(given: dict[str, Any], where: str) -> Variant:
    """Check the keys of a variant and take them out of a configuration.

    Raises:
        SweepError: a batch size that is no int >= 1, arguments that aren't plain values.
    """
    size = None
    if "batch_size" in given:
        size = check_batch_size(given.pop("batch_size"), join(where, "batch_size"))
    args = given.pop("task_args", {})
    here = join(where, "task_args")
    if not isinstance(args, Mapping):
        raise SweepError(f"{shown(args)}", where=here, allowed="a mapping of arguments")
    _check_plain(args, here)
    return Variant(size, json.dumps(args, sort_keys=True) if args else "")


def check_batch_size(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SweepError(f"{shown(value)} is not a batch size", where=where, allowed="an int >= 1")
    return value


def _check_plain(value: object, where: str) -> None:
    """Refuse what can't be told from other values, nor written into a file."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise SweepError(f"the key {shown(key)} is not text", where=where)
            _check_plain(inner, join(where, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _check_plain(inner, f"{where}[{index}]")
    elif not (value is None or isinstance(value, bool | int | str)) and not (
        isinstance(value, float) and math.isfinite(value)
    ):
        raise SweepError(
            f"{shown(value)} is not a plain value",
            where=where,
            allowed="text, numbers, true, false, null, lists and mappings",
        )
