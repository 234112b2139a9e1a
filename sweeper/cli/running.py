"""The commands that start, watch and end sweeps."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweeper.cli import on_cluster
from sweeper.cli.options import (
    ADDRESS,
    ADDRESS_VARIABLE,
    LOCAL,
    RUNTIME_ENV,
    SET,
    STORAGE,
    WORKING_DIR,
)
from sweeper.cli.relayed import given_storage
from sweeper.cli.showing import load, messages, results, show_result

if TYPE_CHECKING:
    from sweeper.spec import SweepSpec

_WHERE = click.option(
    "--address",
    metavar="URL",
    envvar=ADDRESS_VARIABLE,
    help="Submit to the cluster of this Ray dashboard, such as http://HEAD:8265, and return at "
    "once; auto joins the cluster that this machine belongs to. Default "
    f"{ADDRESS_VARIABLE}, else a Ray of its own on this machine.",
)


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@SET
@click.option("--storage", default=None, help="Folder of all sweeps; default as in the spec.")
@LOCAL
@_WHERE
@WORKING_DIR
@RUNTIME_ENV
@click.option("--dry-run", is_flag=True, help="Say what would be done, and start nothing.")
def launch(
    spec: Path,
    settings: tuple[str, ...],
    storage: str | None,
    local: bool,
    address: str | None,
    working_dir: Path | None,
    runtime_env: Path | None,
    dry_run: bool,
) -> None:
    """Run the sweep that SPEC describes, with live progress; show the ranking at its end.

    Launched again under the same name: finished, the result is shown; interrupted, it goes on.
    Exit code 1 when nothing held and so nothing is recommended.

    \b
    sweeper launch my.yaml                               on this machine
    sweeper launch my.yaml --address http://HEAD:8265    on a cluster; returns at once
    sweeper launch my.yaml --address auto                inside of a cluster
    """
    from sweeper.runtime.launch import launch as run

    there = _there(address, local=local)
    _refuse_without(there, working_dir, runtime_env)
    loaded = load(spec, settings, storage if there is None else None)
    if dry_run:
        _dry_run(loaded)
    elif there is not None:
        on_cluster.launch(there, loaded, storage, working_dir, runtime_env)
    else:
        sys.exit(
            show_result(run(loaded, local=local, address=address or None, console=messages()))
        )


@click.command()
@click.argument("name")
@click.option("--storage", default=None, help="Folder of all sweeps; default ./sweeps.")
@LOCAL
@_WHERE
@WORKING_DIR
@RUNTIME_ENV
@click.option(
    "--add-trials",
    default=0,
    metavar="N",
    type=click.IntRange(min=0, max=1_000_000),
    help="Give the sweep N more trials; a finished one goes on then.",
)
def resume(
    name: str,
    storage: str | None,
    local: bool,
    address: str | None,
    working_dir: Path | None,
    runtime_env: Path | None,
    add_trials: int,
) -> None:
    """Go on with the sweep NAME from its last row files, whatever ended it."""
    from sweeper.runtime.launch import resume as run

    there = _there(address, local=local)
    _refuse_without(there, working_dir, runtime_env)
    if there is not None:
        on_cluster.resume(there, name, storage, add_trials, working_dir, runtime_env)
        return
    found = run(
        name,
        storage=storage or "./sweeps",
        local=local,
        address=address or None,
        add_trials=add_trials,
        console=messages(),
    )
    sys.exit(show_result(found))


@click.command()
@click.argument("name")
@STORAGE
@ADDRESS
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
@click.pass_context
def status(ctx: click.Context, name: str, storage: str, address: str | None, form: str) -> None:
    """Say how the sweep NAME fares, from its database alone, wherever it runs."""
    from sweeper.results import status as states
    from sweeper.study.folder import find

    if address:
        sys.exit(on_cluster.status(address, name, given_storage(ctx), form))
    found = states.status(find(name, storage))
    if form == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        results().print(states.draw(found))


@click.command()
@click.argument("name")
@STORAGE
@ADDRESS
@click.option(
    "--lines",
    default=50,
    show_default=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="The last ones of each log. With --address and --follow it is all from the start.",
)
@click.option("--follow", is_flag=True, help="Go on with what is added, until the sweep ends.")
def logs(name: str, storage: str, address: str | None, lines: int, follow: bool) -> None:
    """Show the logs of the sweep NAME: of Ray, the tracker and every lane.

    With --address: what its last launch on the cluster has printed.
    """
    from sweeper.runtime import tail
    from sweeper.study.folder import find

    if address:
        on_cluster.logs(address, name, lines, follow=follow)
    else:
        tail.show(find(name, storage), click.echo, lines=lines, follow=follow)


@click.command()
@click.argument("name")
@STORAGE
@ADDRESS
@click.pass_context
def stop(ctx: click.Context, name: str, storage: str, address: str | None) -> None:
    """End the running sweep NAME, wherever it runs: lanes save their rows, resume goes on."""
    from sweeper.runtime.stop import stop as end
    from sweeper.study.folder import find

    if address:
        sys.exit(on_cluster.stop(address, name, given_storage(ctx)))
    click.echo(f"{name}: {end(find(name, storage))}. Go on with: sweeper resume {name}")


def _there(address: str | None, *, local: bool) -> str | None:
    """The cluster to submit to; None where this process runs the sweep."""
    if local and address:
        raise click.UsageError("Give --local or --address: a cluster trains on its own machines.")
    return None if address in (None, "", "auto") else address


def _refuse_without(there: str | None, *options: Path | None) -> None:
    if there is None and any(one is not None for one in options):
        raise click.UsageError("--working-dir and --runtime-env are for a cluster: --address URL.")


def _dry_run(spec: SweepSpec) -> None:
    from sweeper.runtime.dry_run import describe

    for line in describe(spec):
        click.echo(line)
