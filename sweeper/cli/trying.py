"""The commands that try a spec or a task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from sweeper.cli.options import SET
from sweeper.cli.showing import load, messages, results
from sweeper.stability.lr_range import PICKS


@click.command()
@click.argument("spec", type=click.Path(path_type=Path), required=False)
@SET
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
    loaded = resolve(load(spec, settings, None))
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
    console = results()
    for part in describe(name, found):
        console.print(part, highlight=False, soft_wrap=isinstance(part, Text))


def _size_text(size: Any) -> str:
    return (
        f"{size.trials:,} trials, {size.runs:,} runs, {size.run_steps:,} run-steps, "
        f"about {size.disk_mb:,.0f} MB of trajectories"
    )


@click.command("lr-range")
@click.argument("spec", type=click.Path(path_type=Path))
@SET
@click.option(
    "--pick",
    type=click.Choice(PICKS),
    help="The rule by which an lr is taken. steepest: where the loss falls fastest. valley: "
    "fastai's. minimum: a tenth of lr at the lowest loss. Default as in the spec.",
)
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The figure, a PNG file; default <name of the sweep>_lr_range.png.",
)
def lr_range(
    spec: Path, settings: tuple[str, ...], pick: str | None, form: str, output: Path | None
) -> None:
    """Let lr grow while settings of SPEC train: where do they learn, where do they diverge?

    \b
    sweeper lr-range search_spaces/digits.yaml
    sweeper lr-range SPEC --set lr_range.high=100 --set lr_range.steps=500

    Smith's range test (2015), for many settings of the other hyperparameters at once. In a spec
    `lr: auto` searches the range that it finds. It takes seconds, and starts no sweep.
    """
    from sweeper.results.lr_range import figure, run, table
    from sweeper.runtime.variants import resolve, task_name
    from sweeper.tasks.variants import shared

    chosen = [*settings, *([f"lr_range.pick={pick}"] if pick else [])]
    loaded = resolve(load(spec, chosen, None))
    with messages().status(f"Range test: {loaded.lr_range.steps} steps"):
        found = run.run(loaded, shared(task_name(loaded)))
    path = output or Path(f"{loaded.name}_lr_range.png")
    figure.write(found, path, title=f"Range test, {loaded.name}")
    if form == "json":
        click.echo(json.dumps(table.as_dict(found), indent=2))
        return
    console = results()
    for part in table.describe(found):
        console.print(part, highlight=False, soft_wrap=isinstance(part, Text))
    click.echo(f"Figure: {path}")


@click.command()
def tasks() -> None:
    """List the bundled tasks."""
    from sweeper.tasks.registry import BUNDLED

    for name, text in BUNDLED.items():
        click.echo(f"{name:12} {text}")
    click.echo("\nYour own: task: package.module:factory, a function that returns a sweeper.Task;")
    click.echo("or package.module:train, a training loop of your own, train(trial).")
