"""The commands about this machine: the MLflow UI, and what it offers."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from sweeper.cli.options import STORAGE


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
def doctor() -> None:
    """Say what this machine offers: compiler, devices, versions; what is missing and its cost."""
    from sweeper.doctor import examine

    console = Console()
    for finding in examine():
        mark = "[green]ok[/]  " if finding.good else "[red]miss[/]"
        console.print(f"{mark} {finding.name}: {finding.text}", highlight=False, soft_wrap=True)
