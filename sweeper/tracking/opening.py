"""Opening a tracking URI: a SQLite database is made, or upgraded, where needed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from sweeper.errors import SweepError
from sweeper.study.folder import locked


def client(uri: str) -> Any:
    """MLflow's client of a tracking URI."""
    from mlflow import MlflowClient

    return MlflowClient(uri)


def sqlite(uri: str, path: Path) -> Any:
    """A client of a database that is there, of this MLflow's schema, with a write-ahead log."""
    from mlflow.exceptions import MlflowException

    path.parent.mkdir(parents=True, exist_ok=True)
    # Two sweeps that start at once would both make the tables.
    with locked(path.parent, f".{path.name}.lock", wait_s=120.0):
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            # Stays in the file; a quarter less CPU per transaction, and readers don't block.
            connection.execute("PRAGMA journal_mode=WAL")
        try:
            return client(uri)
        except MlflowException as error:
            if "out-of-date database schema" not in str(error):
                raise
        _upgrade(uri, path)
        return client(uri)


def command_line(*arguments: str) -> list[str]:
    """A command of MLflow's own command line."""
    return [sys.executable, "-m", "mlflow", *arguments]


def _upgrade(uri: str, path: Path) -> None:
    """Bring the tables to this MLflow's schema, as MLflow advises: after a backup."""
    copy = path.with_name(f"{path.name}.before-upgrade")
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(copy)) as new:
        old.backup(new)
    command = command_line("db", "upgrade", uri)
    done = subprocess.run(command, stdout=sys.stderr, check=False)  # noqa: S603
    if done.returncode:
        raise SweepError(
            f"this version of MLflow can't use {path}",
            where="tracking.uri",
            cure="Use the version that made it, or another database.",
        )
