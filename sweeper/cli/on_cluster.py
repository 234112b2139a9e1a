"""Starting, watching and ending sweeps on a cluster that is reached by HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sweeper.cli.relayed import answer, show

if TYPE_CHECKING:
    from sweeper.spec import SweepSpec

_END_S = 120.0
_MISSING = b"there is no sweep "


def launch(
    address: str,
    spec: SweepSpec,
    storage: str | None,
    working_dir: Path | None,
    runtime_env: Path | None,
) -> None:
    """Submit a launch, and say how to look at it."""
    from sweeper.runtime.jobs import sweeps
    from sweeper.runtime.jobs.client import Client

    files, environment = _given(working_dir, runtime_env)
    id = sweeps.submit_launch(
        Client(address), spec, storage=storage, files=files, environment=environment
    )
    _say_submitted(spec.name, id, address)


def resume(
    address: str,
    name: str,
    storage: str | None,
    add_trials: int,
    working_dir: Path | None,
    runtime_env: Path | None,
) -> None:
    """Submit a resume, and say how to look at it."""
    from sweeper.runtime.jobs import sweeps
    from sweeper.runtime.jobs.client import Client

    files, environment = _given(working_dir, runtime_env)
    client = Client(address)
    id = sweeps.submit_resume(
        client,
        name,
        storage=storage,
        add_trials=add_trials,
        files=files,
        environment=environment,
    )
    _say_submitted(name, id, address)


def status(address: str, name: str, storage: str | None, form: str) -> int:
    """What Ray says of the sweep's last job, then what the sweep's database says."""
    from sweeper.runtime.jobs import sweeps
    from sweeper.runtime.jobs.client import Client

    client = Client(address)
    job = sweeps.newest(client, name)
    if job is not None and form == "table":
        state = str(job.status.value).lower()
        click.echo(f"job {job.submission_id} at {address}: {state}")
    place = storage or sweeps.storage_of(job)
    found = answer(client, ["status", "--storage", place, "--format", form, "--", name])
    is_alive = job is not None and not job.status.is_terminal()
    if is_alive and _MISSING in found.err:  # the launch has not laid it out yet
        click.echo(f"{name} is starting: sweeper logs {name} --address {address}", err=True)
        return 0
    code = show(found)
    if code and job is not None:
        click.echo(f"What it says: sweeper logs {name} --address {address}", err=True)
    return code


def logs(address: str, name: str, lines: int, *, follow: bool) -> None:
    """What the sweep's last job has printed."""
    from sweeper.runtime.jobs import sweeps
    from sweeper.runtime.jobs.client import Client

    client = Client(address)
    job = sweeps.require(client, name)
    if follow:
        sweeps.follow(client, str(job.submission_id), lambda text: click.echo(text, nl=False))
        return
    text = client.logs(str(job.submission_id)).splitlines()
    for line in text[-lines:] if lines else []:
        click.echo(line)


def stop(address: str, name: str, storage: str | None) -> int:
    """Let the sweep end as `sweeper stop` does there; a job that has not begun Ray ends."""
    from sweeper.runtime.jobs import sweeps
    from sweeper.runtime.jobs.client import Client

    client = Client(address)
    job = sweeps.newest(client, name)
    place = storage or sweeps.storage_of(job)
    found = answer(client, ["stop", "--storage", place, "--", name])
    if found.code and job is not None and not client.status(str(job.submission_id)).is_terminal():
        client.stop(str(job.submission_id))
    elif found.code:
        return show(found)
    if job is not None:  # what it ended with is recorded yet
        ended = client.await_end(str(job.submission_id), wait_s=_END_S)
        click.echo(f"job {job.submission_id}: {str(ended.value).lower()}")
    click.echo(f"Go on with: sweeper resume {name} --address {address}")
    return 0


def _given(
    working_dir: Path | None, runtime_env: Path | None
) -> tuple[Path | None, dict[str, Any] | None]:
    from sweeper.runtime.jobs import environment

    files = None if working_dir is None else environment.checked_files(working_dir)
    return files, None if runtime_env is None else environment.read(runtime_env)


def _say_submitted(name: str, id: str, address: str) -> None:
    click.echo(f"{name}: submitted to {address} as job {id}")
    for command, meaning in (
        ("status", "how it fares"),
        ("logs --follow", "what it prints"),
        ("stop", "lanes save their rows; resume goes on"),
        ("best", "the ranking, also while it runs"),
        ("export", "the recommended setting"),
    ):
        verb, *flags = command.split()
        words = " ".join(["sweeper", verb, name, *flags, "--address", address])
        click.echo(f"  {words:<70} {meaning}")
