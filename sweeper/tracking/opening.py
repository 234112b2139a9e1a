"""Opening a tracking URI: a SQLite database is made, or upgraded, where needed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

from sweeper.errors import SweepError
from sweeper.study.folder import locked


def client(uri: str) -> Any:
    """MLflow's client of a tracking URI."""
    from mlflow import MlflowClient

    return MlflowClient(uri)


def is_refused(uri: str) -> bool:
    """Whether a server refuses MLflow's client with the login of the environment."""
    from mlflow.exceptions import MlflowException

    try:
        client(uri).search_experiments(max_results=1)
    except MlflowException as error:
        return error.get_http_status_code() in (401, 403)
    return False


def sqlite(uri: str, path: Path) -> Any:
    """A client of a database that is there, of this MLflow's schema, with a write-ahead log."""
    from mlflow.exceptions import MlflowException

    path.parent.mkdir(parents=True, exist_ok=True)
    # Two sweeps that start at once would both make the tables.
    with locked(path.parent, f".{path.name}.lock", wait_s=120.0):
        if not path.exists() or path.stat().st_size == 0:
            _make(path)
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


def _make(path: Path) -> None:
    """Make the database aside: MLflow can't open one whose making was cut off."""
    prefix = f".{path.name}.new-"
    for leftover in path.parent.glob(f"{prefix}*"):
        leftover.unlink()
    aside = path.with_name(f"{prefix}{uuid.uuid4().hex}")
    whole = path.with_name(f"{aside.name}-whole")
    client(f"sqlite:///{aside}")
    # MLflow keeps connections to the file that it made: a copy is put in place.
    _copy(aside, whole)
    whole.replace(path)
    for leftover in path.parent.glob(f"{prefix}*"):
        leftover.unlink()


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _upgrade(uri: str, path: Path) -> None:
    """Bring the tables to this MLflow's schema, as MLflow advises: after a backup."""
    _copy(path, path.with_name(f"{path.name}.before-upgrade-{time.strftime('%Y%m%d-%H%M%S')}"))
    command = command_line("db", "upgrade", uri)
    done = subprocess.run(command, stdout=sys.stderr, check=False)  # noqa: S603
    if done.returncode:
        raise SweepError(
            f"this version of MLflow can't use {path}",
            where="tracking.uri",
            cure="Use the version that made it, or another database.",
        )
