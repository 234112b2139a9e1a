"""What several commands load and print."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from sweeper.errors import SweepError
from sweeper.ranking import POLICIES

if TYPE_CHECKING:
    from sweeper.results.source import Source
    from sweeper.results.sweep import SweepHandle
    from sweeper.spec import SweepSpec

_REASONS = 30  # trials of which it is said what broke, where nothing held


def load(path: Path, settings: Sequence[str], storage: str | None) -> SweepSpec:
    from sweeper import spec

    return spec.load(path, settings, **({} if storage is None else {"storage": storage}))


def handle(name: str, storage: str) -> SweepHandle:
    from sweeper.results.sweep import SweepHandle
    from sweeper.study.folder import find

    return SweepHandle(find(name, storage))


def messages() -> Console:
    # The file itself: what Ray prints is redirected by way of sys.stderr, and this is not.
    return Console(file=sys.stderr)


def results() -> Console:
    """Standard output, wide enough for tables where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else 160)


def print_records(rows: Sequence[Mapping[str, Any]], form: str) -> None:
    """Print records as csv or parquet."""
    from sweeper.results import records

    write = records.as_csv if form == "csv" else records.as_parquet
    click.echo(write(records.with_all_columns(rows)), nl=False)


def show_result(found: SweepHandle) -> int:
    """Print ranking and recommendation; the exit code, 1 where nothing is recommended."""
    from sweeper.results.outcome import outcome, refused_table

    console = results()
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
    found: Source,
    top: int,
    by: str = "robust",
    ranking: Sequence[dict[str, Any]] | None = None,
    *,
    baselines: bool = True,
) -> None:
    """Print the first trials, and the baselines below them.

    Args:
        by: policy, or another order.
        ranking: in that order, where it is known.
        baselines: False where trials were filtered or sorted: then the first ones alone.
    """
    from sweeper.results.table import ranking_table

    every = found.ranking(by) if ranking is None else ranking
    shown = list(every[:top])
    if baselines:
        shown += [one for one in every[top:] if one["origin"] == "baseline"]
    state = "" if found.finished else " (unfinished)"
    is_policy = by in POLICIES
    count = f"{'best' if is_policy else 'first'} {min(top, len(every))} of {len(every)} trials"
    count += "" if by == "robust" else f" by {by}"
    title = f"{found.name}{state}: {count}, horizon {found.horizon_text}"
    results().print(ranking_table(shown, title=title))
