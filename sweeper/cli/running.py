"""The commands that start, watch and end sweeps."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweeper.cli.options import LOCAL, SET, STORAGE
from sweeper.cli.showing import load, messages, results, show_result

if TYPE_CHECKING:
    from sweeper.spec import SweepSpec


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@SET
@click.option("--storage", default=None, help="Folder of all sweeps; default as in the spec.")
@LOCAL
@click.option("--dry-run", is_flag=True, help="Say what would be done, and start nothing.")
def launch(
    spec: Path, settings: tuple[str, ...], storage: str | None, local: bool, dry_run: bool
) -> None:
    """Run the sweep that SPEC describes, with live progress; show the ranking at its end.

    Launched again under the same name: finished, the result is shown; interrupted, it goes on.
    Exit code 1 when nothing held and so nothing is recommended.
    """
    from sweeper.runtime.launch import launch as run

    loaded = load(spec, settings, storage)
    if dry_run:
        _dry_run(loaded)
        return
    sys.exit(show_result(run(loaded, local=local, console=messages())))


@click.command()
@click.argument("name")
@STORAGE
@LOCAL
@click.option(
    "--add-trials",
    default=0,
    metavar="N",
    type=click.IntRange(min=0, max=1_000_000),
    help="Give the sweep N more trials; a finished one goes on then.",
)
def resume(name: str, storage: str, local: bool, add_trials: int) -> None:
    """Go on with the sweep NAME from its last row files, whatever ended it."""
    from sweeper.runtime.launch import resume as run

    found = run(name, storage=storage, local=local, add_trials=add_trials, console=messages())
    sys.exit(show_result(found))


@click.command()
@click.argument("name")
@STORAGE
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def status(name: str, storage: str, form: str) -> None:
    """Say how the sweep NAME fares, from its database alone, wherever it runs."""
    from sweeper.results import status as states
    from sweeper.study.folder import find

    found = states.status(find(name, storage))
    if form == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        results().print(states.draw(found))


@click.command()
@click.argument("name")
@STORAGE
def stop(name: str, storage: str) -> None:
    """End the running sweep NAME, wherever it runs: lanes save their rows, resume goes on."""
    from sweeper.runtime.stop import stop as end
    from sweeper.study.folder import find

    click.echo(f"{name}: {end(find(name, storage))}. Go on with: sweeper resume {name}")


def _dry_run(spec: SweepSpec) -> None:
    from sweeper.runtime.dry_run import describe

    for line in describe(spec):
        click.echo(line)
