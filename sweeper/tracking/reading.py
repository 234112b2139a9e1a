"""Reading sweeps back from MLflow alone; nothing is written, made or upgraded there."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sweeper.errors import SweepError, nearest
from sweeper.tracking import content, opening
from sweeper.tracking.backoff import said, without_login
from sweeper.tracking.store import CLIENT_ENVIRONMENT, Found, check_reachable, found_runs

RECOMMENDED_FILE = "recommended.json"
_ALLOWED = "http://host:port, or sqlite:///path/to/mlflow.db"
_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
_NAMES = 10  # of other sweeps, in a message


@dataclass(frozen=True)
class Recorded:
    """What MLflow has of a sweep.

    Args:
        name: of the sweep.
        parent: the run of the sweep, the newest one of that name.
        children: the runs of its trials, the oldest first.
    """

    name: str
    parent: Found
    children: Sequence[Found]


class Reader:
    """Sweeps of one tracking URI.

    Args:
        uri: `http://host:port`, `sqlite:///path/to/mlflow.db` or what else MLflow takes.
        where: what the user named it by, for messages.

    Raises:
        SweepError: no such URI, nobody answers there, no database of MLflow. So do all methods.
    """

    def __init__(self, uri: str, where: str = "--tracking") -> None:
        self._uri, self._where = uri, where
        if uri.partition("://")[0] not in _SCHEMES:
            raise SweepError(
                f"{without_login(uri)!r} is no tracking URI",
                where=where,
                allowed=_ALLOWED,
                cure=_as_uri(uri),
            )
        check_reachable(uri, where, "Start the server, or name another one.")
        if uri.startswith("sqlite:///"):
            _check_database(Path(uri.removeprefix("sqlite:///")), where)
        with self._asking():
            self._client = opening.client(uri)

    def sweep(self, name: str) -> Recorded:
        """The newest sweep of a name with all its runs."""
        experiment, parent = self._parent(name)
        with self._asking():
            identity = parent.tags[content.SWEEP_ID]
            every = found_runs(self._client, experiment, content.SWEEP_ID, identity)
        return Recorded(name, parent, [run for run in every if content.TRIAL in run.tags])

    def recommendation(self, name: str) -> tuple[int, bytes]:
        """The recommended trial of the newest sweep of a name, and recommended.json.

        Raises:
            SweepError: nothing is recommended, or the file isn't there.
        """
        experiment, parent = self._parent(name)
        with self._asking():
            marked = self._client.search_runs(
                [experiment],
                f"tags.`{content.SWEEP_ID}` = '{parent.tags[content.SWEEP_ID]}' "
                f"and tags.`{content.RECOMMENDED}` = 'true'",
                max_results=1,
            )
        if not marked:
            raise SweepError(
                f"nothing is recommended for sweep {name!r}: {_state(parent)}",
                where=self._where,
                cure=f"Look at it: sweeper best {name} --tracking {without_login(self._uri)}",
            )
        return int(marked[0].data.tags[content.TRIAL]), self._download(name, parent)

    def _download(self, name: str, parent: Found) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            try:
                with self._asking():
                    files = self._client.list_artifacts(parent.id)
                    if RECOMMENDED_FILE in [file.path for file in files]:
                        path = self._client.download_artifacts(parent.id, RECOMMENDED_FILE, folder)
                        return Path(path).read_bytes()
                reason = f"its run {parent.id} has no artifact {RECOMMENDED_FILE}"
            except SweepError as error:
                reason = error.what
        raise SweepError(
            f"the recommendation of sweep {name!r} can't be fetched: {reason}",
            where=self._where,
            cure=f"Where its folder is: sweeper export {name}",
        )

    def _parent(self, name: str) -> tuple[str, Found]:
        """Id of the experiment of a sweep, and the run of the newest sweep in it."""
        with self._asking():
            experiment = self._client.get_experiment_by_name(name)
            if experiment is not None and experiment.lifecycle_stage != "deleted":
                found = self._client.search_runs(
                    [experiment.experiment_id],
                    f"tags.`{content.SWEEP}` LIKE '%'",
                    max_results=1,
                    order_by=["attributes.start_time DESC"],
                )
                if found:
                    return experiment.experiment_id, Found.of(found[0])
            names = [one.name for one in self._client.search_experiments()]
        raise SweepError(
            f"no sweep {name!r} is recorded at {without_login(self._uri)}",
            where=self._where,
            allowed=", ".join([one for one in names if one != "Default"][:_NAMES]),
            cure=nearest(name, names),
        )

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """While inside, MLflow's client answers soon, and what it raises is one message."""
        missing = {k: v for k, v in CLIENT_ENVIRONMENT.items() if k not in os.environ}
        os.environ.update(missing)
        try:
            yield
        # Whatever MLflow's client, its database or the store of its artifacts say.
        except Exception as error:
            raise SweepError(
                f"{without_login(self._uri)} can't be read: {said(error, self._uri)}",
                where=self._where,
            ) from error
        finally:
            for key in missing:
                os.environ.pop(key, None)


def _state(parent: Found) -> str:
    if parent.status == "FINISHED":
        return "none of its trials held"
    return "it is running" if parent.status == "RUNNING" else "it has not finished"


def _as_uri(text: str) -> str:
    """The URI that was probably meant by the path of a file."""
    path = Path(text).expanduser()
    return f"Did you mean sqlite:///{path.absolute()}?" if path.is_file() else ""


def _check_database(path: Path, where: str) -> None:
    """Refuse a file that is no database of MLflow: its client would make one of it."""
    if not path.is_file():
        raise SweepError(f"there is no database {path}", where=where, allowed=_ALLOWED)
    try:
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
            query = "SELECT name FROM sqlite_master WHERE name IN ('experiments', 'runs')"
            tables: list[Any] = connection.execute(query).fetchall()
    except sqlite3.Error as error:
        raise SweepError(f"{path} can't be read: {error}", where=where) from error
    if len(tables) < 2:
        raise SweepError(
            f"{path} is no database of MLflow",
            where=where,
            cure="That of a storage is mlflow.db beside its sweeps.",
        )
