"""A sweep on disk, asked for its best configurations."""

from __future__ import annotations

import json
from typing import Any

from sweeper.errors import SweepError, nearest, one_of
from sweeper.study.folder import Folder, versions
from sweeper.study.standing import standing

FORMATS = ("json",)
EXPORT_SCHEMA = 1


class SweepHandle:
    """A sweep, running or finished, read from its folder.

    `best(n)` gives the ranking, `export(format)` the recommended setting.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.spec = folder.read_spec()

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def finished(self) -> bool:
        """Whether the sweep came to its end."""
        database = self.folder.database()
        try:
            return bool(database.meta("ended") == "finished")
        finally:
            database.close()

    def ranking(self, by: str = "robust") -> list[dict[str, Any]]:
        """Every told trial in order: `rank`, `trial`, `origin`, its results and its `config`.

        Args:
            by: policy: robust, final, best, early or lr_sensitivity.

        Raises:
            SweepError: unknown policy, or no trial has what it ranks by.
        """
        database = self.folder.database()
        try:
            return standing(database, self.spec, by)
        finally:
            database.close()

    def best(self, n: int = 10, *, by: str = "robust") -> list[dict[str, Any]]:
        """The first `n` of `ranking`; every `config` is one that `sweeper.train` takes."""
        return self.ranking(by)[:n]

    def recommendation(self) -> dict[str, Any]:
        """The recommended setting with its evidence and provenance.

        Raises:
            SweepError: no trial has ended, or none of them held.
        """
        ranking = self.ranking()
        if not ranking:
            raise SweepError(f"no trial of {self.name!r} has ended yet")
        first = ranking[0]
        if first["failure_fraction"] >= 1:
            raise SweepError(
                f"all {len(ranking)} trials of {self.name!r} failed: nothing to recommend",
                cure=f"Look at `sweeper best {self.name}`; lower lr or widen the space.",
            )
        evidence = {k: v for k, v in first.items() if k not in ("config", "origin", "rank")}
        return {
            "schema": EXPORT_SCHEMA,
            "sweep": self.name,
            "config": first["config"],
            "proven": {
                "task": self.spec.task,
                "task_args": self.spec.task_args,
                "horizon": self.spec.horizon,
                "seeds": self.spec.seed_list,
                "dtype": self.spec.dtype,
                "stress_tested": False,
            },
            "evidence": evidence,
            "trials": len(ranking),
            "versions": versions(),
        }

    def export(self, format: str = "json") -> str:
        """The recommended setting as text. Raises SweepError as `recommendation` does."""
        if format not in FORMATS:
            raise SweepError(
                f"unknown format {format!r}",
                allowed=one_of(FORMATS),
                cure=nearest(format, FORMATS),
            )
        return json.dumps(self.recommendation(), indent=2)
