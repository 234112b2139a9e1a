"""Everything that talks to MLflow, through MlflowClient alone: SQLite and servers are the same.

MLflow is imported when a Store is made, never when this module is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from sweeper import tracking_uri
from sweeper.errors import SweepError
from sweeper.tracking import opening
from sweeper.tracking.backoff import without_login

_ANSWER_S = 3.0
# Half a second of a server's time, far from the timeout below; larger ones are not faster.
_PAGE = 200
# What a proxy says when there is nobody behind it.
_NOBODY = (502, 503, 504)
CLIENT_ENVIRONMENT = {
    # Errors are retried by the tracking process, which looks first at what has arrived: a retry
    # within MLflow's client could make a run twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
# Without the processes that MLflow keeps for language models.
SERVER_ENVIRONMENT = {**CLIENT_ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


class Point(NamedTuple):
    """A value of a metric."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A run as MLflow has it; `started` in milliseconds since 1970, `metrics` the latest ones."""

    id: str
    started: int
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, run: Any) -> Found:
        """Of a run as MLflow's client gives it."""
        info, data = run.info, run.data
        return cls(info.run_id, info.start_time, info.status, data.tags, data.params, data.metrics)


def resolve_uri(uri: str, storage: Path) -> str:
    """The tracking URI: `sqlite` is the database beside the sweeps of a storage."""
    if uri == "sqlite":
        return f"sqlite:///{storage.absolute() / 'mlflow.db'}"
    return tracking_uri.resolve(uri)


def check_reachable(
    uri: str,
    where: str = "tracking.uri",
    cure: str = "Start the server, or go on without it: --set tracking.later=true",
) -> None:
    """Raise SweepError when nobody answers at an http(s) URI within a few seconds."""
    if not uri.startswith(("http://", "https://")):
        return
    address = without_login(uri)
    try:
        with urlopen(f"{address.rstrip('/')}/health", timeout=_ANSWER_S):  # noqa: S310
            return
    except HTTPError as error:
        if error.code not in _NOBODY:
            return
        reason: object = error
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        # MLflow's client has settings of its own for certificates.
        if isinstance(reason, SSLError):
            return
    raise SweepError(f"no tracking server answers at {address}: {reason}", where=where, cure=cure)


class Store:
    """Runs of one tracking URI. Every method is a call to MLflow and may raise what MLflow does.

    Args:
        uri: as `resolve_uri` gives it; a SQLite database is made, or upgraded, where needed.
    """

    def __init__(self, uri: str) -> None:
        for name, value in CLIENT_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._artifacts: str | None = None
        if uri.startswith("sqlite:///"):
            path = Path(uri.removeprefix("sqlite:///")).absolute()
            self._artifacts = str(path.parent / "mlartifacts")
            self._client = opening.sqlite(uri, path)
        else:
            self._client = opening.client(uri)

    def experiment(self, name: str, describe: Callable[[str], Mapping[str, str]]) -> str:
        """Id of the experiment of that name, made where it is missing.

        Args:
            describe: its tags, by its id; those that it has already, a user may have changed.
        """
        found = self._client.get_experiment_by_name(name)
        if found is None:
            experiment = str(self._client.create_experiment(name, self._artifacts))
        else:
            experiment = str(found.experiment_id)
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment)
        known = found.tags if found else {}
        for key, value in describe(experiment).items():
            if key not in known:
                self._client.set_experiment_tag(experiment, key, value)
        return experiment

    def experiments(self, tag: str, most: int) -> list[tuple[str, str]]:
        """Names and ids of the experiments with a tag, the newest first."""
        found = self._client.search_experiments(
            max_results=most,
            filter_string=f"tags.`{tag}` != ''",
            order_by=["last_update_time DESC"],
        )
        return [(one.name, str(one.experiment_id)) for one in found]

    def runs(self, experiment: str, tag: str, value: str) -> list[Found]:
        """All runs with a tag, the oldest first."""
        return found_runs(self._client, experiment, tag, value)

    def create(self, experiment: str, name: str, tags: Mapping[str, str]) -> Found:
        """Start a run."""
        made = self._client.create_run(experiment, _now(), dict(tags), name)
        return Found.of(made)

    def log(
        self,
        run: Found,
        points: Iterable[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        at: int | None = None,
    ) -> None:
        """Add to a run. What it has already is left as it is: logging twice changes nothing.

        Args:
            at: time of the points, milliseconds since 1970. By default that of the run's start:
                then a repeated point is the same one to MLflow.
        """
        from mlflow.entities import Metric, Param, RunTag

        time_ms = run.started if at is None else at

        missing = {k: v for k, v in (params or {}).items() if k not in run.params}
        self._client.log_batch(
            run.id,
            [Metric(point.name, point.value, time_ms, point.step) for point in points],
            [Param(key, value) for key, value in missing.items()],
            [RunTag(key, value) for key, value in (tags or {}).items()],
            synchronous=True,
        )

    def log_one(self, run: Found, point: Point) -> None:
        """Add one point: half the cost of `log`."""
        self._client.log_metric(
            run.id, point.name, point.value, run.started, point.step, synchronous=True
        )

    def attach_file(self, run: Found, file: Path, place: str | None = None) -> None:
        """Copy a file, where it is there, to the artifacts of a run: to the top, or a folder."""
        if file.is_file():
            self._client.log_artifact(run.id, str(file), place)

    def attach_text(self, run: Found, name: str, text: str) -> None:
        """Write a text to the artifacts of a run."""
        self._client.log_text(run.id, text, name)

    def end(self, run: Found, status: str) -> None:
        """End a run: FINISHED, KILLED or FAILED."""
        self._client.set_terminated(run.id, status)

    def reopen(self, run: Found) -> None:
        """Set an ended run back to RUNNING."""
        self._client.update_run(run.id, status="RUNNING")

    def delete(self, run: Found) -> None:
        """Move a run to MLflow's trash."""
        self._client.delete_run(run.id)


def found_runs(client: Any, experiment: str, tag: str, value: str) -> list[Found]:
    """All runs of an experiment with a tag, the oldest first."""
    found: list[Found] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment],
            f"tags.`{tag}` = '{value}'",
            max_results=_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        found += map(Found.of, page)
        token = page.token
        if not token:
            return found


def _now() -> int:
    return round(time.time() * 1000)
