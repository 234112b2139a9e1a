"""A recommendation read back from its file."""

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


def load_recommendation(path: str | Path) -> Recommendation:
    """Read a recommendation.

    Args:
        path: of a sweep's folder, its recommended.json, or what `sweeper export` wrote as JSON.

    Raises:
        SweepError: there is none, or it is of another version.
    """
    file = Path(path).expanduser()
    file = file / _FILE if file.is_dir() else file
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise SweepError(
            f"no recommendation can be read: {error.strerror}",
            where=str(file),
            allowed="the folder of a finished sweep, or its recommended.json",
        ) from error
    except ValueError as error:
        raise SweepError(f"is no JSON: {error}", where=str(file)) from error
    _check(found, str(file))
    return Recommendation(found)


def _check(found: object, where: str) -> None:
    if not isinstance(found, dict) or any(key not in found for key in _KEYS):
        raise SweepError(
            "is no recommendation", where=where, allowed=f"JSON with {', '.join(_KEYS)}"
        )
    if found.get("schema") != _SCHEMA:
        raise SweepError(
            f"schema {shown(found.get('schema'))} is not known to this version of sweeper",
            where=where,
            allowed=str(_SCHEMA),
        )
