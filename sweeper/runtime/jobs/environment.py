"""What travels to a cluster with a job: sweeper itself, the user's files, and what is to be done.

No secret travels: Ray keeps the environment of a job where everybody can read it. Logins of MLflow
and of databases come from the environment of the cluster's own machines.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeper import spec_file
from sweeper.errors import SweepError

MODULE = "sweeper.cli.job"
_VARIABLE = "SWEEPER_JOB"
_LONGEST = 100_000  # bytes of one environment variable, with room to spare
# What Ray gives a job between the request to stop and its end: lanes write their row files.
_STOP_S = 60
_OURS = ("py_modules", "working_dir", "excludes")


@dataclass(frozen=True, slots=True)
class Order:
    """What a job on the cluster is to do.

    Args:
        arguments: of the command line.
        spec: that takes the place of the argument SPEC, as text in YAML.
        output: suffix of a file that the command writes, and that is to come back.
        is_relayed: whether what it prints is to come back.
    """

    arguments: tuple[str, ...]
    spec: str | None = None
    output: str | None = None
    is_relayed: bool = False


def runtime_env(
    order: Order, *, files: Path | None = None, given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The runtime environment of a job.

    Args:
        files: folder of the user's, which the job works in: what .gitignore and .rayignore
            exclude stays here.
        given: a runtime environment of the user's, which is kept.

    Raises:
        SweepError: too large a spec, or a given environment that leaves no room for this.
    """
    text = json.dumps(asdict(order))
    if len(text) > _LONGEST:
        raise SweepError(f"the spec is too long to be submitted: {len(text):,} bytes")
    found = dict(given or {})
    variables = {
        **found.get("env_vars", {}),
        _VARIABLE: text,
        "RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_S),
    }
    package = str(Path(__file__).parents[2])
    found |= {"env_vars": variables, "py_modules": [package], "excludes": ["__pycache__"]}
    if files is not None:
        found["working_dir"] = str(files)
    return found


def read(path: Path) -> dict[str, Any]:
    """A runtime environment from a YAML file, as `ray job submit --runtime-env` takes it.

    Raises:
        SweepError: unreadable, or it sets what the submission itself sets.
    """
    found, _ = spec_file.read(path)
    for key in _OURS:
        if key in found:
            raise SweepError(
                f"{key!r} is set by the submission", where=str(path), cure="Leave it out."
            )
    if not isinstance(found.get("env_vars", {}), dict):
        raise SweepError("env_vars is no mapping", where=str(path))
    return found


def command(order: Order) -> str:
    """The shell command of a job: what is done can be read off the cluster's dashboard."""
    return shlex.join(["python", "-m", MODULE, *order.arguments])


def received(environment: Mapping[str, str] = os.environ) -> Order:
    """The order that this job was submitted with; raises SweepError where there is none."""
    text = environment.get(_VARIABLE)
    if text is None:
        raise SweepError(f"{_VARIABLE} is not set", cure="This is for jobs: use `sweeper launch`.")
    found = json.loads(text)
    return Order(**{**found, "arguments": tuple(found["arguments"])})


def checked_files(files: Path) -> Path:
    """The folder that travels; raises SweepError where there is none."""
    if not files.is_dir():
        raise SweepError(f"no folder {str(files)!r}", where="--working-dir")
    return files.resolve()
