"""Options that several commands take."""

from __future__ import annotations

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
