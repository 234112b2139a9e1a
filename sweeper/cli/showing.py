"""What several commands load and print."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from sweeper.errors import SweepError

if TYPE_CHECKING:
    from sweeper.results.sweep import SweepHandle
    from sweeper.spec import SweepSpec

_REASONS = 30  # trials of which it is said what broke, where nothing held


def load(path: Path, settings: Sequence[str], storage: str | None) -> SweepSpec:
    from sweeper import spec

    loaded = spec.load(path, settings, **({} if storage is None else {"storage": storage}))
    for key in loaded.not_yet_active():
        click.echo(f"Note: {key} is accepted but has no effect in this version.", err=True)
    return loaded


def handle(name: str, storage: str) -> SweepHandle:
    from sweeper.results.sweep import SweepHandle
    from sweeper.study.folder import find

    return SweepHandle(find(name, storage))


def messages() -> Console:
    return Console(stderr=True)


def show_result(found: SweepHandle) -> int:
    """Print ranking and recommendation; the exit code, 1 where nothing is recommended."""
    from sweeper.results.outcome import outcome, refused_table

    console = Console(width=None if sys.stdout.isatty() else 160)
    print_table(found, 10)
    click.echo()
    code = 0
    try:
        for part in outcome(found.recommendation()):
            console.print(part, highlight=False, soft_wrap=isinstance(part, Text))
    except SweepError as error:
        code = 1
        click.echo(f"Nothing is recommended: {error}")
        console.print(refused_table(found.broken()[:_REASONS], title="What broke"))
    storage = found.folder.path.parent
    default = storage == (Path.cwd() / "sweeps").resolve()
    flag = "" if default else f" --storage {storage}"
    page = found.folder.path / "report" / "report.html"
    click.echo(f"\nFiles: {found.folder.path}")
    if page.exists():
        click.echo(f"Report: {page}")
    click.echo(f"All trials and curves: sweeper ui{flag}  (in a clone: make ui)")
    if not code:
        click.echo(f"Take the recommended setting along: sweeper export {found.name}{flag}")
    return code


def print_table(
    found: SweepHandle,
    top: int,
    by: str = "robust",
    filtered: Sequence[dict[str, Any]] | None = None,
) -> None:
    """Print the ranking, with the baselines; of filtered trials those alone."""
    from sweeper.results.table import ranking_table

    every = found.ranking(by) if filtered is None else filtered
    ranking = list(every[:top])
    baselines = [t for t in every if t["origin"] == "baseline" and t not in ranking]
    baselines = baselines if filtered is None else []
    state = "" if found.finished else " (unfinished)"
    count = f"best {len(ranking)} of {len(every)} trials"
    count += "" if by == "robust" else f" by {by}"
    title = f"{found.name}{state}: {count}, horizon {found.spec.horizon_text}"
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(ranking_table(ranking + baselines, title=title))
