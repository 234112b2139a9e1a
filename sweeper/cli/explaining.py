"""The command that explains a trial."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from sweeper.cli.options import STORAGE
from sweeper.cli.showing import handle, messages, results


@click.command()
@click.argument("name")
@STORAGE
@click.option(
    "--trial",
    type=click.IntRange(min=0),
    metavar="N",
    help="Default the first baseline, else what ranks first.",
)
@click.option("--records", is_flag=True, help="By what is on record alone: trains nothing.")
@click.option(
    "--smaller",
    multiple=True,
    metavar="KEY=VALUE",
    help="Argument of the task that makes a smaller model, which is trained alike. Repeatable.",
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The figure, a PNG file; default report/diagnosis_N.png in the folder of the sweep.",
)
def diagnose(
    name: str,
    storage: str,
    trial: int | None,
    records: bool,
    smaller: tuple[str, ...],
    form: str,
    output: Path | None,
) -> None:
    """Say why a trial of the sweep NAME trains as it does, what to change and by how much.

    \b
    sweeper diagnose digits                          the baseline
    sweeper diagnose digits --trial 7 --smaller hidden=16

    Its worst run is trained once more, alone, to look at the curvature where it ends; with
    --records it isn't. Then: does it hold, and if not by which mechanism; is the training loss
    low, and if not is it the model or the optimization; a minimum or a saddle; do steps bounce or
    creep; is what was held out worse, by overfitting or by a mismatch.
    """
    from sweeper import spec_file
    from sweeper.results.diagnose import diagnosis, figure, told

    sweep = handle(name, storage)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages(), transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def show(what: str, made: int, of: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(f"training {what}", total=of)
            progress.update(bars[what], completed=made)

        found = diagnosis.diagnose(
            sweep,
            trial,
            trains=not records,
            smaller=spec_file.apply_settings({}, smaller) if smaller else None,
            told=show,
        )
    number = found.evidence.trial["trial"]
    path = output or sweep.folder.path / "report" / f"diagnosis_{number}.png"
    figure.write(found, path)
    if form == "json":
        click.echo(json.dumps(told.as_dict(found), indent=2))
        return
    console = results()
    for text in told.describe(found):
        console.print(text, highlight=False, soft_wrap=True)
    click.echo(f"\nFigure: {path}")
