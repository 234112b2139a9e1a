"""The commands about this machine: the MLflow UI, and what it offers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from sweeper.cli.options import ADDRESS, STORAGE
from sweeper.doctor import Finding


@click.command()
@STORAGE
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--host", default="127.0.0.1", show_default=True)
def ui(storage: str, port: int, host: str) -> None:
    """Open the MLflow UI on the sweeps of a storage (on this machine only, unless --host)."""
    from sweeper.runtime.signals import signals_interrupt
    from sweeper.tracking.ui import serve_ui

    place = Path(storage).expanduser().resolve()
    with signals_interrupt():  # SIGTERM ends the server, too
        sys.exit(serve_ui(place, host=host, port=port, say=click.echo))


@click.command()
@ADDRESS
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def doctor(address: str | None, form: str) -> None:
    """Say what this machine offers: compiler, devices, versions; what is missing and its cost.

    With --address: what the cluster offers, and where its versions differ from those here.
    """
    from sweeper.doctor import examine

    found = list(_examine_cluster(address) if address else examine())
    if os.environ.get("RAY_ADDRESS"):  # this is a job on a cluster, or about to join one
        from sweeper.runtime.nodes import examine_nodes

        found.insert(0, examine_nodes())
    if form == "json":
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    console = Console()
    for finding in found:
        mark = "[green]ok[/]  " if finding.good else "[red]miss[/]"
        console.print(f"{mark} {finding.name}: {finding.text}", highlight=False, soft_wrap=True)


def _examine_cluster(address: str) -> Iterator[Finding]:
    from sweeper.cli.relayed import answer, show
    from sweeper.doctor import compare
    from sweeper.runtime.jobs.client import Client

    found = answer(Client(address), ["doctor", "--format", "json"])
    if found.code:
        sys.exit(show(found))
    return compare([Finding(**one) for one in json.loads(found.out)])
