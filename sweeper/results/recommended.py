"""A recommendation read back, from its file or from MLflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.errors import SweepError, shown

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from sweeper.optim.own_loop import Parameters
    from sweeper.optim.scheduler import ScheduleLR

_FILE = "recommended.json"
_SCHEMA = 1
_KEYS = ("config", "evidence", "proven")


@dataclass(frozen=True)
class Recommendation:
    """A recommended setting with what speaks for it.

    Args:
        found: everything that the file says, as `SweepHandle.recommendation` gives it.
    """

    found: Mapping[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """The setting, as `sweeper.train` takes it."""
        return dict(self.found["config"])

    @property
    def evidence(self) -> dict[str, Any]:
        """What its runs came to."""
        return dict(self.found["evidence"])

    @property
    def proven(self) -> dict[str, Any]:
        """What that holds for: task, horizon, seeds, dtype."""
        return dict(self.found["proven"])

    def make_optimizer(
        self, params: Parameters, total_steps: int | None = None
    ) -> tuple[Optimizer, ScheduleLR]:
        """The optimizer and the scheduler for a training loop of one's own.

        Args:
            params: the model, its `named_parameters()` or its `parameters()`.
            total_steps: of the whole run; default the horizon that the setting was proven for.

        Raises:
            SweepError: anything wrong in the setting, or no such run.
        """
        from sweeper.optim.own_loop import make_optimizer

        steps = self.proven["horizon"] if total_steps is None else total_steps
        return make_optimizer(params, self.config, steps)

    def export(self, format: str = "json") -> str:
        """The setting as text, as `sweeper export` prints it."""
        from sweeper.results.export.registry import render

        return render(self.found, format)


def load_recommendation(source: str | Path, sweep: str | None = None) -> Recommendation:
    """Read a recommendation from a file, or from MLflow alone.

    Args:
        source: path of a sweep's folder, of its recommended.json, or of what `sweeper export`
            wrote as JSON; or a tracking URI: `http://127.0.0.1:5000`, `sqlite:///sweeps/mlflow.db`.
        sweep: its name, where the source is a tracking URI or the folder of several sweeps. From
            MLflow it is the newest sweep of that name.

    Raises:
        SweepError: there is none, it can't be fetched, or it is of another version.
    """
    if "://" in str(source):
        return fetch_recommendation(str(source), sweep)
    file = Path(source).expanduser() / (sweep or "")
    file = file / _FILE if file.is_dir() else file
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SweepError(
            f"no recommendation can be read: {error.strerror}",
            where=str(file),
            allowed="the folder of a finished sweep, or its recommended.json",
        ) from error
    return _read(content, str(file))


def fetch_recommendation(
    uri: str, sweep: str | None, where: str = "tracking URI"
) -> Recommendation:
    """Fetch the recommendation of the newest sweep of a name from MLflow.

    Args:
        uri: tracking URI.
        sweep: its name.
        where: what the URI was named by, for messages.

    Raises:
        SweepError: as `load_recommendation`.
    """
    from sweeper.tracking.backoff import without_login
    from sweeper.tracking.reading import Reader

    if sweep is None:
        raise SweepError(
            "the name of the sweep is missing",
            where="sweep",
            cure=f"Such as load_recommendation({without_login(uri)!r}, sweep='perceptron')",
        )
    trial, content = Reader(uri, where).recommendation(sweep)
    place = f"{without_login(uri)}, sweep {sweep}"
    found = _read(content, place)
    if found.evidence.get("trial") != trial:
        raise SweepError(
            f"recommended.json is of trial {found.evidence.get('trial')}, and trial {trial} is "
            "recommended by now",
            where=place,
            cure=f"Record it anew: sweeper resume {sweep}, where its folder is.",
        )
    return found


def _read(content: bytes, where: str) -> Recommendation:
    """A recommendation from JSON, whoever wrote it."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SweepError(f"is no JSON: {error}", where=where) from error
    if not isinstance(found, dict) or not all(isinstance(found.get(k), dict) for k in _KEYS):
        raise SweepError(
            "is no recommendation", where=where, allowed=f"JSON with {', '.join(_KEYS)}"
        )
    if found.get("schema") != _SCHEMA:
        raise SweepError(
            f"schema {shown(found.get('schema'))} is not known to this version of sweeper",
            where=where,
            allowed=str(_SCHEMA),
        )
    return Recommendation(found)
