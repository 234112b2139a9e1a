"""A user's own factory by name: imported from the working directory or an installed package."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeper.errors import SweepError, nearest, one_of, shown

_FRAMES = 3  # of the user's, the last ones
_OURS = str(Path(__file__).parents[1])


def imported(name: str) -> Callable[..., Any]:
    """The factory `package.module:factory`.

    Raises:
        SweepError: no such module or function, or the module fails while it is imported.
    """
    module_name, attribute = name.split(":")
    _refuse_standard_library(module_name)
    if os.getcwd() not in sys.path:  # a console script has its own folder there
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise SweepError(
                f"there is no module {error.name!r} for {name!r}",
                where="task",
                allowed=f"a module of the working directory ({os.getcwd()}) or of an installed "
                "package",
                cure="Start sweeper in the folder of your module, or install its package.",
            ) from error
        raise failed(f"{module_name} can't be imported", error) from error
    except Exception as error:
        raise failed(f"{module_name} can't be imported", error) from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        known = [n for n in vars(module) if not n.startswith("_") and callable(vars(module)[n])]
        raise SweepError(
            f"{module_name} has no function {attribute!r}",
            where="task",
            allowed=one_of(known) or "none",
            cure=nearest(attribute, known),
        )
    found: Callable[..., Any] = factory
    return found


def called(factory: Callable[..., Any], name: str, args: dict[str, Any]) -> Any:
    """What a factory gives; raises SweepError with the user's frames where it fails."""
    try:
        return factory(**args)
    except SweepError:
        raise
    except Exception as error:
        told = f"{name} fails for {shown(args)}" if args else f"{name} fails"
        raise failed(told, error, "task_args" if args else "task") from error


def _users_frames(error: BaseException) -> list[str]:
    """Where an error was, in the user's own code: `file:line in function: code`, the last last."""
    found = []
    for frame in traceback.extract_tb(error.__traceback__):
        if not _is_foreign(frame.filename):
            found.append(f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}")
    return found[-_FRAMES:]


def _is_foreign(file: str) -> bool:
    """Whether a file is ours, Python's or torch's."""
    python = os.path.dirname(os.__file__)
    is_python = file.startswith(python) and "site-packages" not in file
    return file.startswith(("<", _OURS)) or is_python or "/site-packages/torch/" in file


def failed(what: str, error: Exception, where: str = "task") -> SweepError:
    """What failed in the user's own code, and where that was."""
    return SweepError(f"{what}: {told(error)}", where=where)


def told(error: BaseException) -> str:
    """An error with the lines of the user's own code that led to it."""
    frames = "".join(f"\n  {frame}" for frame in _users_frames(error))
    return f"{type(error).__name__}: {error}{frames}"


def _refuse_standard_library(module: str) -> None:
    """A spec may come from elsewhere: `os:system` is no task."""
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise SweepError(
            f"{module} is a module of Python itself",
            where="task",
            allowed="your own function that returns a sweeper.Task",
        )
