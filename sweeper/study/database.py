"""The study's database: the truth of a sweep, through SQLAlchemy.

What it says is on disk before a call returns. A row file or a trajectory part counts when it is
named here. Leases are not kept here: after a restart the lanes say what they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sweeper.errors import SweepError
from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part, Span

SCHEMA = 1
RUNNING, COMPLETE, FAIL = "RUNNING", "COMPLETE", "FAIL"

_metadata = sa.MetaData()
_meta = sa.Table(
    "meta",
    _metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
)
_trials = sa.Table(
    "trials",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("origin", sa.String(16), nullable=False),  # baseline or search
    sa.Column("config", sa.JSON, nullable=False),
    sa.Column("draws", sa.JSON, nullable=False),  # what Optuna drew, by parameter name
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("result", sa.JSON),
    sa.Column("told", sa.Integer, unique=True),  # 1, 2, ... in the order of the telling
)
_runs = sa.Table(
    "runs",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("trial", sa.ForeignKey("trials.number"), nullable=False, index=True),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("horizon", sa.Integer, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("row_file", sa.String(255)),
    sa.Column("result", sa.JSON),
)
_spans = sa.Table(
    "spans",
    _metadata,
    sa.Column("part", sa.String(255), primary_key=True),
    sa.Column("run", sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("first", sa.Integer, primary_key=True),
    sa.Column("stop", sa.Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial as the database has it; `result` and `told` are there once it was told."""

    number: int
    origin: str
    config: dict[str, Any]
    draws: dict[str, Any]
    state: str
    result: dict[str, Any] | None
    told: int | None


@dataclass(slots=True)
class RunRow:
    """A run as the database has it; `result` is there once it has ended."""

    run: Run
    step: int
    row_file: str | None
    result: dict[str, Any] | None


class Database:
    """The database of one sweep. Safe for several threads of one process."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if not create and not path.exists():
            raise SweepError(f"there is no sweep at {path.parent}", where="storage")
        self._engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        sa.event.listen(self._engine, "connect", _set_pragmas)
        if create:
            _metadata.create_all(self._engine)
            self.put_meta(schema=SCHEMA)
        found = self.meta("schema")
        if found != SCHEMA:
            raise SweepError(
                f"{path} has schema {found}",
                allowed=str(SCHEMA),
                cure="Use the version that made it.",
            )

    def close(self) -> None:
        self._engine.dispose()

    def meta(self, key: str) -> Any:
        """A value of the sweep; None when it was never put."""
        with self._engine.connect() as connection:
            return connection.scalar(sa.select(_meta.c.value).where(_meta.c.key == key))

    def put_meta(self, **values: Any) -> None:
        """Put values of the sweep."""
        with self._engine.begin() as connection:
            _put_meta(connection, values)

    def trials(self, *, told_after: int | None = None) -> list[Trial]:
        """All trials by number, or those told after a place in the telling, in its order."""
        query = sa.select(_trials).order_by(_trials.c.number)
        if told_after is not None:
            query = sa.select(_trials).where(_trials.c.told > told_after).order_by(_trials.c.told)
        with self._engine.connect() as connection:
            return [Trial(**row) for row in connection.execute(query).mappings()]

    def runs(self, trials: Iterable[int] | None = None) -> list[RunRow]:
        """All runs by id, or those of some trials."""
        query = sa.select(_runs, _trials.c.config).join(_trials).order_by(_runs.c.id)
        if trials is not None:
            query = query.where(_runs.c.trial.in_(list(trials)))
        with self._engine.connect() as connection:
            return [_run_row(row) for row in connection.execute(query).mappings()]

    def parts(self, runs: Iterable[int] | None = None) -> list[Part]:
        """The trajectory parts that count, with what of them counts."""
        query = sa.select(_spans).order_by(_spans.c.part, _spans.c.run, _spans.c.first)
        if runs is not None:
            query = query.where(_spans.c.run.in_(list(runs)))
        found: dict[str, list[Span]] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query).mappings():
                found.setdefault(row["part"], []).append(
                    Span(row["run"], row["first"], row["stop"])
                )
        return [Part(path, tuple(spans)) for path, spans in found.items()]

    def add_trials(self, trials: Sequence[Trial], runs: Sequence[Run]) -> None:
        """Add trials and their runs."""
        fresh = [
            {"id": r.id, "trial": r.trial, "seed": r.seed, "horizon": r.horizon, "step": 0}
            for r in runs
        ]
        with self._engine.begin() as connection:
            connection.execute(sa.insert(_trials), [_columns(trial) for trial in trials])
            connection.execute(sa.insert(_runs), fresh)

    def record(
        self,
        *,
        saved: Mapping[int, int],
        row_file: str | None,
        done: Mapping[int, Mapping[str, Any]],
        part: Part | None,
        told: Sequence[Trial],
        meta: Mapping[str, Any],
    ) -> None:
        """Everything that one report changes, in one transaction.

        Args:
            saved: step by run of the rows in `row_file`.
            done: result by run.
            part: trajectories up to those steps.
            told: trials that are complete by this, with result and place in the telling.
            meta: values of the sweep to put.
        """
        with self._engine.begin() as connection:
            for run, step in saved.items():
                _update_run(connection, run, step=step, row_file=row_file)
            for run, result in done.items():
                _update_run(
                    connection, run, step=result["steps"], row_file=None, result=dict(result)
                )
            for span in part.spans if part else ():
                values = {"part": part.path, "run": span.run, "first": span.first}  # type: ignore[union-attr]
                connection.execute(sa.insert(_spans).values(**values, stop=span.stop))
            for trial in told:
                query = sa.update(_trials).where(_trials.c.number == trial.number)
                connection.execute(query.values(**_columns(trial)))
            _put_meta(connection, meta)


def _update_run(connection: sa.Connection, run: int, **values: Any) -> None:
    connection.execute(sa.update(_runs).where(_runs.c.id == run).values(**values))


def _put_meta(connection: sa.Connection, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        updated = connection.execute(
            sa.update(_meta).where(_meta.c.key == key).values(value=value)
        )
        if updated.rowcount == 0:
            connection.execute(sa.insert(_meta).values(key=key, value=value))


def _columns(trial: Trial) -> dict[str, Any]:
    return {column.name: getattr(trial, column.name) for column in _trials.columns}


def _run_row(row: sa.RowMapping) -> RunRow:
    run = Run(row["id"], row["trial"], row["config"], row["seed"], row["horizon"])
    return RunRow(run, row["step"], row["row_file"], row["result"])


def _set_pragmas(connection: Any, record: object) -> None:
    del record
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
