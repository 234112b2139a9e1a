"""A sweep on disk, asked for its best configurations."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sweeper.errors import SweepError
from sweeper.ranking.objectives import Objective
from sweeper.ranking.recommendation import refusal
from sweeper.ranking.target import steps_to_target
from sweeper.results.export import registry
from sweeper.study import standing
from sweeper.study.folder import Folder
from sweeper.study.provenance import versions
from sweeper.study.stress import fresh_seeds
from sweeper.tracking import content
from sweeper.tracking.process import read_progress

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
    def horizon_text(self) -> str:
        """The horizon in words."""
        return self.spec.horizon_text

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the search optimises, the first one first."""
        return self.spec.objectives

    @property
    def recommended_trial(self) -> int | None:
        """Number of the recommended trial; None where nothing held."""
        best = standing.chosen(self.ranking())
        return None if best is None else int(best["trial"])

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
            return standing.standing(database, self.spec, by)
        finally:
            database.close()

    def best(self, n: int = 10, *, by: str = "robust") -> list[dict[str, Any]]:
        """The first `n` of `ranking`; every `config` is one that `sweeper.train` takes."""
        return self.ranking(by)[:n]

    def recommendation(self, trial: int | None = None) -> dict[str, Any]:
        """The recommended setting with its evidence and provenance.

        Args:
            trial: number of another trial to take; `recommended` is false then, and `reason` says
                what broke in it.

        Raises:
            SweepError: no trial has ended, or none of them held; there is no such trial.
        """
        ranking = self.ranking()
        if not ranking:
            raise SweepError(f"no trial of {self.name!r} has ended yet")
        best = standing.chosen(ranking)
        first = best if trial is None else self._trial(ranking, trial)
        if first is None:
            raise self._nothing_held(len(ranking))
        stressed = "stress_runs" in first
        refused = self.refused()
        spec, config = self.spec, first["config"]
        steps = spec.steps(config)
        evidence = {k: v for k, v in first.items() if k not in ("config", "origin", "rank")}
        return {
            "schema": EXPORT_SCHEMA,
            "sweep": self.name,
            "recommended": first is best,
            "reason": refusal(first, stress_horizon=spec.stress_steps(config)),
            "config": config,
            "proven": {
                "task": spec.task,
                "task_args": {**spec.task_args, **config.get("task_args", {})},
                "horizon": spec.stress_steps(config) if stressed else steps,
                "searched_horizon": steps,
                "seeds": spec.seed_list,
                "stress_seeds": list(self._stress_seeds) if stressed else [],
                "dtype": spec.dtype,
                "stress_tested": stressed,
            },
            "evidence": evidence,
            "speed": self._speed(first, refused[0]) if refused else None,
            "refused": [
                {k: row[k] for k in ("trial", "by", "reason", "config")} for row in refused
            ],
            "trials": len(ranking),
            "mlflow": {
                "experiment": self.name,
                "filter": f"tags.`{content.TRIAL}` = '{first['trial']}'",
            },
            "versions": versions(),
        }

    def _trial(self, ranking: list[dict[str, Any]], number: int) -> dict[str, Any]:
        for row in ranking:
            if row["trial"] == number:
                return row
        raise SweepError(
            f"{self.name!r} has no trial {number} that has ended",
            where="--trial",
            allowed="a number that `sweeper best` shows",
        )

    def refused(self) -> list[dict[str, Any]]:
        """Trials that other policies put first, and that broke: each with `reason` and `by`."""
        with closing(self.folder.database()) as database:
            return standing.refused(database, self.spec)

    def broken(self) -> list[dict[str, Any]]:
        """Every trial that broke, in the order of the ranking: each with `reason` and `by`."""
        steps = self.spec.stress_steps
        reasons = (
            (row, refusal(row, stress_horizon=steps(row["config"]))) for row in self.ranking()
        )
        return [
            {**row, "reason": reason, "by": [f"rank {row['rank']}"]}
            for row, reason in reasons
            if reason is not None
        ]

    def _nothing_held(self, trials: int) -> SweepError:
        broken = self.broken()
        first = "".join(f"; trial {row['trial']} {row['reason']}" for row in broken[:1])
        return SweepError(
            f"nothing to recommend: {len(broken)} of {trials} trials of {self.name!r} "
            f"failed{first}",
            cure=f"Look at `sweeper best {self.name}`; lower lr, raise eps, widen the space, or "
            "give the stress test more of a budget.",
        )

    def _speed(self, first: Mapping[str, Any], rival: Mapping[str, Any]) -> dict[str, Any] | None:
        """Steps to the tail loss of the recommended trial, of it and of the most tempting one."""
        if first["tail_loss"] is None:
            return None
        with closing(self.folder.database()) as database:
            rows = database.runs([first["trial"], rival["trial"]])

        def steps(trial: int) -> int | None:
            results = [row.result for row in rows if row.run.trial == trial and row.result]
            return steps_to_target(results, float(first["tail_loss"]))

        return {
            "loss": first["tail_loss"],
            "steps": steps(first["trial"]),
            "tempting": rival["trial"],
            "tempting_steps": steps(rival["trial"]),
        }

    @property
    def _stress_seeds(self) -> tuple[int, ...]:
        return fresh_seeds(self.spec.seed_list, self.spec.stress.seeds)

    def report(
        self, path: Path | None = None, *, x: str | None = None, y: str | None = None
    ) -> Path:
        """Write the sweep on one page; returns the HTML file. See results.report.report.

        Args:
            path: default `report/report.html` in the folder of the sweep.
            x, y: hyperparameters of the stability map.
        """
        from sweeper.results.report.report import write_report  # it loads matplotlib

        return write_report(self, path, x=x, y=y)

    def export(self, format: str = "json", *, trial: int | None = None) -> str:
        """The recommended setting, or another trial, as text.

        Args:
            format: json, yaml, torch, lightning, transformers, keras, optax or deepspeed.

        Raises:
            SweepError: as `recommendation`; or the format can't express the setting.
        """
        registry.check_format(format)
        found = self.recommendation(trial)
        known = read_progress(self.folder.path).get("recommended")
        if known and known["trial"] == found["evidence"]["trial"]:
            found["mlflow"]["run"] = known["run"]
        return registry.render(found, format)
