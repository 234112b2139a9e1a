"""The commands that read what a sweep found."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sweeper.cli.options import ADDRESS, FORMAT, STORAGE, TRACKING
from sweeper.cli.relayed import Relayed
from sweeper.cli.showing import handle, print_records, print_table, results
from sweeper.errors import SweepError
from sweeper.ranking import POLICIES


@click.command(cls=Relayed)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@STORAGE
@ADDRESS
@TRACKING
@click.option("--top", default=10, show_default=True, type=click.IntRange(min=1), metavar="N")
@click.option(
    "--by",
    type=click.Choice(POLICIES),
    default="robust",
    show_default=True,
    help="robust: those that hold, then the objective of the worst seeds. final, best, early: "
    "mean loss at the end, at its lowest, after a tenth of the horizon. lr_sensitivity: what a "
    "wrong lr costs.",
)
@click.option(
    "--filter",
    "condition",
    metavar="TEXT",
    help="Only trials that pass, in MLflow's syntax: 'failure_fraction = 0 and draw_up < 3'.",
)
@click.option(
    "--sort",
    metavar="TEXT",
    help="Another order, in MLflow's syntax: 'failure_fraction ASC, draw_up DESC'.",
)
@FORMAT
def best(
    names: tuple[str, ...],
    storage: str,
    tracking: str | None,
    top: int,
    by: str,
    condition: str | None,
    sort: str | None,
    form: str,
) -> None:
    """Show the best trials of the sweep NAME, or of several, each in its own order."""
    from sweeper.results.records import records
    from sweeper.results.selection import select
    from sweeper.results.source import open_sources

    found = select(open_sources(names, storage, tracking), by, condition, sort)
    if form == "table":
        for source, ranking in found:
            is_whole = condition is None and sort is None
            print_table(source, top, sort or by, ranking, baselines=is_whole)
    elif form == "json":
        several = len(found) > 1
        rows = [
            {**({"sweep": s.name} if several else {}), **row} for s, r in found for row in r[:top]
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        print_records([one for s, r in found for one in records(s.name, r[:top])], form)


@click.command(cls=Relayed)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@STORAGE
@ADDRESS
@TRACKING
@click.option(
    "--trials",
    metavar="A,B",
    help="Numbers, baseline, best, recommended; NAME:3 of one of several sweeps. Default: what is "
    "recommended, and the baselines.",
)
@FORMAT
def compare(
    names: tuple[str, ...], storage: str, tracking: str | None, trials: str | None, form: str
) -> None:
    """Show trials of the sweep NAME, or of several, side by side.

    Settings that differ come first, then results; the best value of each is marked.
    """
    from sweeper.results.comparison import compare as put_side_by_side
    from sweeper.results.comparison import comparison_table
    from sweeper.results.selection import pick
    from sweeper.results.source import open_sources

    found = put_side_by_side(pick(open_sources(names, storage, tracking), trials))
    if form == "table":
        title = f"{', '.join(dict.fromkeys(names))}: {len(found.trials)} trials"
        results().print(comparison_table(found, title=title))
    elif form == "json":
        click.echo(json.dumps(found.records(), indent=2))
    else:
        print_records(found.records(), form)


@click.command(cls=Relayed)
@click.argument("name")
@STORAGE
@ADDRESS
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The HTML file; default report/report.html in the folder of the sweep.",
)
@click.option("--x", metavar="PARAMETER", help="Of the stability map; default lr, else the first.")
@click.option("--y", metavar="PARAMETER", help="Default eps, else the most important other one.")
def report(name: str, storage: str, output: Path | None, x: str | None, y: str | None) -> None:
    """Write the sweep NAME on one page: HTML that needs nothing else, and its figures as PNG.

    At the end of a launch that is done already.
    """
    click.echo(handle(name, storage).report(output, x=x, y=y))


@click.command(cls=Relayed)
@click.argument("name")
@STORAGE
@ADDRESS
@click.option("--trial", required=True, type=click.IntRange(min=0), metavar="N")
@click.option("--series", metavar="A,B", help="Such as loss,sharpness; all of them by default.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .csv or .parquet file.",
)
def trajectories(name: str, storage: str, trial: int, series: str | None, output: Path) -> None:
    """Write the trajectories of one trial of the sweep NAME, its stress test included."""
    from sweeper.results import trajectories as data
    from sweeper.study.folder import find

    found = data.table(find(name, storage), trial, series.split(",") if series else None)
    data.write(found, output)
    runs, steps = data.count_steps(found)
    click.echo(f"{output}: {steps:,} steps of {runs} runs")


@click.command(cls=Relayed)
@click.argument("name")
@STORAGE
@ADDRESS
@TRACKING
@click.option(
    "--format",
    "form",
    default="json",
    show_default=True,
    help="json, yaml: config and evidence. torch, lightning, transformers, keras, optax: a "
    "script. deepspeed: its JSON.",
)
@click.option("--trial", type=int, default=None, help="Export this trial instead.", metavar="N")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file."
)
def export(
    name: str,
    storage: str,
    tracking: str | None,
    form: str,
    trial: int | None,
    output: Path | None,
) -> None:
    """Print the recommended setting of the sweep NAME, with the evidence for it.

    What a format can't express it refuses, with the reason and another format.
    """
    if tracking is None:
        text = handle(name, storage).export(form, trial=trial)
    elif trial is not None:
        raise click.UsageError("MLflow has the recommended setting alone: leave out --trial.")
    else:
        from sweeper.results.recommended import fetch_recommendation

        text = fetch_recommendation(tracking, name, "--tracking").export(form)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SweepError(f"can't be written: {error.strerror}", where=str(output)) from error
