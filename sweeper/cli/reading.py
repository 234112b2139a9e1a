"""The commands that read what a sweep found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sweeper.cli.options import STORAGE
from sweeper.cli.showing import handle, print_table
from sweeper.errors import SweepError
from sweeper.ranking import POLICIES


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@STORAGE
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
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "parquet"]),
    default="table",
    show_default=True,
    help="parquet goes to standard output too: > FILE.",
)
def best(
    names: tuple[str, ...], storage: str, top: int, by: str, condition: str | None, form: str
) -> None:
    """Show the best trials of the sweep NAME, or of several, each in its own order."""
    from sweeper.results import records
    from sweeper.results.filter import parse_filter

    passes = parse_filter(condition) if condition is not None else None
    rows: list[dict[str, Any]] = []
    for name in names:
        found = handle(name, storage)
        ranking = found.ranking(by)
        if passes is not None:
            flat = records.with_all_columns(records.records(name, ranking))
            ranking = [row for row, one in zip(ranking, flat, strict=True) if passes(one)]
        if form == "table":
            print_table(found, top, by, None if passes is None else ranking)
        elif form == "json":
            several = {"sweep": name} if len(names) > 1 else {}
            rows += [{**several, **row} for row in ranking[:top]]
        else:
            rows += records.records(name, ranking[:top])
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
    elif form == "csv":
        click.echo(records.as_csv(records.with_all_columns(rows)), nl=False)
    elif form == "parquet":
        click.echo(records.as_parquet(records.with_all_columns(rows)), nl=False)


@click.command()
@click.argument("name")
@STORAGE
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


@click.command()
@click.argument("name")
@STORAGE
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


@click.command()
@click.argument("name")
@STORAGE
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
def export(name: str, storage: str, form: str, trial: int | None, output: Path | None) -> None:
    """Print the recommended setting of the sweep NAME, with the evidence for it.

    What a format can't express it refuses, with the reason and another format.
    """
    text = handle(name, storage).export(form, trial=trial)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SweepError(f"can't be written: {error.strerror}", where=str(output)) from error
