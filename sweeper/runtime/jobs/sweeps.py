"""The launches of sweeps on a cluster: submitted, found again, followed, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ray.job_submission import JobDetails

from sweeper import spec_file
from sweeper.errors import SweepError
from sweeper.runtime.jobs.client import Client
from sweeper.runtime.jobs.environment import Order, command, runtime_env
from sweeper.spec import SweepSpec
from sweeper.tasks.registry import BUNDLED

DEFAULT_STORAGE = "~/sweeps"
_NAME, _STORAGE, _NUMBER, _FILES = "sweep", "sweep.storage", "sweep.launch", "sweep.files"


def submit_launch(
    client: Client,
    spec: SweepSpec,
    *,
    storage: str | None = None,
    files: Path | None = None,
    environment: Mapping[str, Any] | None = None,
) -> str:
    """Launch a sweep on the cluster; returns the id of its job at once.

    Args:
        storage: folder of all sweeps there; default as in the spec, where that is absolute.
        files: folder of the user's that travels; default the working directory where the task is
            the user's own.
        environment: a runtime environment of the user's.

    Raises:
        SweepError: it runs there already, or it can't be submitted.
    """
    place = _storage_there(spec, storage)
    travels = files or (None if spec.task in BUNDLED else Path.cwd())
    content = spec.model_dump(mode="json", exclude_unset=True)
    order = Order(
        ("launch", spec.name, "--address", "auto", "--storage", place),
        spec=spec_file.dump({**content, "storage": place}),
    )
    return _submit(client, spec.name, order, place, travels, environment)


def submit_resume(
    client: Client,
    name: str,
    *,
    storage: str | None = None,
    add_trials: int = 0,
    files: Path | None = None,
    environment: Mapping[str, Any] | None = None,
) -> str:
    """Go on with a sweep on the cluster; returns the id of its job at once. See submit_launch."""
    known = newest(client, name)
    place = storage or storage_of(known)
    needs_files = known is not None and bool((known.metadata or {}).get(_FILES))
    travels = files or (Path.cwd() if needs_files else None)
    more = ("--add-trials", str(add_trials)) if add_trials else ()
    order = Order(("resume", name, "--address", "auto", "--storage", place, *more))
    return _submit(client, name, order, place, travels, environment)


def launches(client: Client, name: str) -> list[JobDetails]:
    """The jobs of a sweep that the cluster remembers, the newest last."""
    return [job for job in client.jobs() if (job.metadata or {}).get(_NAME) == name]


def newest(client: Client, name: str) -> JobDetails | None:
    """The last job of a sweep."""
    found = launches(client, name)
    return found[-1] if found else None


def storage_of(job: JobDetails | None) -> str:
    """The folder of all sweeps on the cluster, as a job was given it."""
    return DEFAULT_STORAGE if job is None else (job.metadata or {}).get(_STORAGE, DEFAULT_STORAGE)


def require(client: Client, name: str) -> JobDetails:
    """The last job of a sweep; raises SweepError where the cluster knows of none."""
    found = newest(client, name)
    if found is not None:
        return found
    known = {(job.metadata or {}).get(_NAME) for job in client.jobs()} - {None}
    raise SweepError(
        f"no job of a sweep {name!r} is known at {client.address}",
        allowed=", ".join(sorted(str(one) for one in known)),
        cure="A cluster forgets its jobs when it is started anew; its storage doesn't: "
        f"`sweeper resume {name}` goes on.",
    )


def follow(client: Client, id: str, say: Callable[[str], None]) -> None:
    """Say what a job has printed and what it will, until it ends."""

    async def tail() -> None:
        async for lines in client.follow(id):
            say(lines)

    asyncio.run(tail())


def _submit(
    client: Client,
    name: str,
    order: Order,
    storage: str,
    files: Path | None,
    environment: Mapping[str, Any] | None,
) -> str:
    before = launches(client, name)
    running = [job for job in before if not job.status.is_terminal()]
    if running:
        raise SweepError(
            f"sweep {name!r} is running already there, as job {running[-1].submission_id}",
            where=client.address,
            cure=f"Look at it: sweeper status {name} --address {client.address}",
        )
    # The number is part of the id: of two launches at once the cluster takes one.
    number = 1 + max((int((job.metadata or {}).get(_NUMBER, 0)) for job in before), default=0)
    metadata = {_NAME: name, _STORAGE: storage, _NUMBER: str(number)}
    if files is not None:
        metadata[_FILES] = files.name
    wrapped = runtime_env(order, files=files, given=environment)
    return client.submit(command(order), f"{name}-{number}", wrapped, metadata)


def _storage_there(spec: SweepSpec, given: str | None) -> str:
    """The folder on the cluster: a relative one would be in the job's own, which is removed."""
    default = SweepSpec.model_fields["storage"].default
    storage = given or (DEFAULT_STORAGE if spec.storage == default else spec.storage)
    if not (PurePosixPath(storage).is_absolute() or storage.startswith("~")):
        raise SweepError(
            f"{storage!r} is relative, and a job on a cluster has no lasting folder",
            where="storage",
            allowed="an absolute path there, or one that starts with ~",
        )
    return storage
