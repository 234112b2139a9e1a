"""The command line. Results go to standard output, progress and messages to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from sweeper.errors import SweepError
from sweeper.ranking import POLICIES

if TYPE_CHECKING:
    from sweeper.results.sweep import SweepHandle
    from sweeper.spec import SweepSpec

_REASONS = 30  # trials of which it is said what broke, where nothing held
_STORAGE = click.option(
    "--storage", default="./sweeps", show_default=True, help="Folder of all sweeps."
)
_SET = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the spec, e.g. --set search.sampler=random. Repeatable.",
)
_LOCAL = click.option("--local", is_flag=True, help="Train in this process, without Ray.")


class _Group(click.Group):
    """Commands in the order in which one needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sweeper")
def cli() -> None:
    """Hyperparameter sweeps that find the settings which stay good when training runs long.

    \b
    sweeper launch search_spaces/perceptron.yaml     run a sweep
    sweeper best perceptron                          see the ranking
    sweeper export perceptron --format json          take the recommended setting along
    sweeper ui                                       look at the runs in MLflow
    """


@cli.command()
@click.argument("spec", type=click.Path(path_type=Path))
@_SET
@click.option("--storage", default=None, help="Folder of all sweeps; default as in the spec.")
@_LOCAL
@click.option("--dry-run", is_flag=True, help="Say what would be done, and start nothing.")
def launch(
    spec: Path, settings: tuple[str, ...], storage: str | None, local: bool, dry_run: bool
) -> None:
    """Run the sweep that SPEC describes, with live progress; show the ranking at its end.

    Launched again under the same name: finished, the result is shown; interrupted, it goes on.
    Exit code 1 when nothing held and so nothing is recommended.
    """
    from sweeper.runtime.launch import launch as run

    loaded = _load(spec, settings, storage)
    if dry_run:
        _dry_run(loaded)
        return
    sys.exit(_show_result(run(loaded, local=local, console=_messages())))


@cli.command()
@click.argument("name")
@_STORAGE
@_LOCAL
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

    found = run(name, storage=storage, local=local, add_trials=add_trials, console=_messages())
    sys.exit(_show_result(found))


@cli.command()
@click.argument("name")
@_STORAGE
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
        Console(width=None if sys.stdout.isatty() else 160).print(states.draw(found))


@cli.command()
@click.argument("name")
@_STORAGE
def stop(name: str, storage: str) -> None:
    """End the running sweep NAME, wherever it runs: lanes save their rows, resume goes on."""
    from sweeper.runtime.stop import stop as end
    from sweeper.study.folder import find

    click.echo(f"{name}: {end(find(name, storage))}. Go on with: sweeper resume {name}")


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_STORAGE
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
        found = _handle(name, storage)
        ranking = found.ranking(by)
        if passes is not None:
            flat = records.with_all_columns(records.records(name, ranking))
            ranking = [row for row, one in zip(ranking, flat, strict=True) if passes(one)]
        if form == "table":
            _print_table(found, top, by, None if passes is None else ranking)
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


@cli.command()
@click.argument("name")
@_STORAGE
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
    click.echo(_handle(name, storage).report(output, x=x, y=y))


@cli.command()
@click.argument("name")
@_STORAGE
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


@cli.command()
@click.argument("name")
@_STORAGE
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
    text = _handle(name, storage).export(form, trial=trial)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SweepError(f"can't be written: {error.strerror}", where=str(output)) from error


@cli.command()
@click.argument("spec", type=click.Path(path_type=Path), required=False)
@_SET
@click.option("--task", help="Try this task: a bundled one, or package.module:factory.")
@click.option(
    "--arg", "args", multiple=True, metavar="KEY=VALUE", help="Argument of the task. Repeatable."
)
@click.option("--steps", default=20, show_default=True, type=click.IntRange(min=1))
def validate(
    spec: Path | None,
    settings: tuple[str, ...],
    task: str | None,
    args: tuple[str, ...],
    steps: int,
) -> None:
    """Check SPEC and build its task; or try a task, alone and packed. Starts no sweep.

    \b
    sweeper validate my_sweep.yaml                    is the spec right?
    sweeper validate --task my_module:build           does the model pack, and what does it buy?
    """
    if (spec is None) == (task is None):
        raise click.UsageError("Give either a SPEC or --task.")
    if task is not None:
        _try_task(task, args, steps)
        return
    from sweeper.runtime import plan
    from sweeper.runtime.variants import resolve

    assert spec is not None
    loaded = resolve(_load(spec, settings, None))
    plan.check_task(loaded)
    size = plan.size(loaded)
    click.echo(f"{spec} is valid: {_size_text(size)}.")


def _try_task(task: str, args: Sequence[str], steps: int) -> None:
    from sweeper import spec_file
    from sweeper.lane.validation import validate as run
    from sweeper.optim.configuration import parse
    from sweeper.results.validation import describe
    from sweeper.tasks.registry import TaskName
    from sweeper.training import machine_for

    name = TaskName(task, spec_file.apply_settings({}, args), {"allow_unpacked": True})
    configuration = parse({"optimizer": "adam", "lr": 1e-3})
    found = run(name, configuration, machine_for(None, None), steps=steps)
    console = Console(width=None if sys.stdout.isatty() else 160)
    for part in describe(name, found):
        console.print(part, highlight=False, soft_wrap=isinstance(part, Text))


@cli.command()
def tasks() -> None:
    """List the bundled tasks."""
    from sweeper.tasks.registry import BUNDLED

    for name, text in BUNDLED.items():
        click.echo(f"{name:12} {text}")
    click.echo("\nYour own: task: package.module:factory, a function that returns a sweeper.Task;")
    click.echo("or package.module:train, a training loop of your own, train(trial).")


@cli.command()
@_STORAGE
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--host", default="127.0.0.1", show_default=True)
def ui(storage: str, port: int, host: str) -> None:
    """Open the MLflow UI on the sweeps of a storage (on this machine only, unless --host)."""
    from sweeper.tracking.store import serve_ui

    sys.exit(serve_ui(Path(storage).expanduser().resolve(), host=host, port=port))


@cli.command()
def doctor() -> None:
    """Say what this machine offers: compiler, devices, versions; what is missing and its cost."""
    from sweeper.doctor import examine

    console = Console()
    for finding in examine():
        mark = "[green]ok[/]  " if finding.good else "[red]miss[/]"
        console.print(f"{mark} {finding.name}: {finding.text}", highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point: a SweepError is one message and exit code 2, never a traceback."""
    try:
        cli(standalone_mode=False)
    except SweepError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except Exception as error:
        from sweeper.study.database import Unavailable

        if not isinstance(error, Unavailable):
            raise
        click.echo(f"Error: {error}\nNothing is lost; try again when that is mended.", err=True)
        sys.exit(2)


def _load(path: Path, settings: Sequence[str], storage: str | None) -> SweepSpec:
    from sweeper import spec

    loaded = spec.load(path, settings, **({} if storage is None else {"storage": storage}))
    for key in loaded.not_yet_active():
        click.echo(f"Note: {key} is accepted but has no effect in this version.", err=True)
    return loaded


def _handle(name: str, storage: str) -> SweepHandle:
    from sweeper.results.sweep import SweepHandle
    from sweeper.study.folder import find

    return SweepHandle(find(name, storage))


def _messages() -> Console:
    return Console(stderr=True)


def _show_result(found: SweepHandle) -> int:
    """Print ranking and recommendation; the exit code, 1 where nothing is recommended."""
    from sweeper.results.outcome import outcome, refused_table

    console = Console(width=None if sys.stdout.isatty() else 160)
    _print_table(found, 10)
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


def _print_table(
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


def _dry_run(spec: SweepSpec) -> None:
    from sweeper.runtime.dry_run import describe

    for line in describe(spec):
        click.echo(line)


def _size_text(size: Any) -> str:
    return (
        f"{size.trials:,} trials, {size.runs:,} runs, {size.run_steps:,} run-steps, "
        f"about {size.disk_mb:,.0f} MB of trajectories"
    )
