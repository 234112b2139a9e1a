"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path

import click

STORAGE = click.option(
    "--storage", default="./sweeps", show_default=True, help="Folder of all sweeps."
)
SET = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the spec, e.g. --set search.sampler=random. Repeatable.",
)
LOCAL = click.option("--local", is_flag=True, help="Train in this process, without Ray.")
TRACKING = click.option(
    "--tracking",
    metavar="URI",
    help="Read from MLflow alone, in place of the storage: http://127.0.0.1:5000 or "
    "sqlite:///sweeps/mlflow.db.",
)
FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "parquet"]),
    default="table",
    show_default=True,
    help="parquet goes to standard output too: > FILE.",
)
ADDRESS_VARIABLE = "SWEEPER_ADDRESS"
ADDRESS = click.option(
    "--address",
    metavar="URL",
    envvar=ADDRESS_VARIABLE,
    help="Ask the cluster of this Ray dashboard, such as http://HEAD:8265, where --storage is "
    f"then; default {ADDRESS_VARIABLE}.",
)
WORKING_DIR = click.option(
    "--working-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="With an --address: the folder of your own files that travels, but for what .gitignore "
    "and .rayignore exclude. Default: the working directory, where the task is your own.",
)
RUNTIME_ENV = click.option(
    "--runtime-env",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With an --address: Ray's runtime environment in YAML, such as pip: [...].",
)
