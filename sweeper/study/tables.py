"""The tables of a study's database, and their rows and changes as plain data."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part

SCHEMA = 3  # of these tables; sweeper.study.migrations has the steps from the older ones
RUNNING, COMPLETE, FAIL = "RUNNING", "COMPLETE", "FAIL"
BASELINE, SEARCH, STRESS = "baseline", "search", "stress"  # origins


class _Text(sa.TypeDecorator[str]):
    """Text that any database takes: PostgreSQL refuses NUL, both refuse lone surrogates."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        del dialect
        if value is None:
            return None
        return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _json(*, none_as_null: bool) -> sa.types.TypeEngine[Any]:
    # PostgreSQL's own JSON refuses infinities and NaN, which results may hold: text keeps them.
    on_server = _JsonText(none_as_null=none_as_null)
    return sa.JSON(none_as_null=none_as_null).with_variant(on_server, "postgresql")


class _JsonText(sa.TypeDecorator[Any]):
    impl = sa.Text
    cache_ok = True

    def __init__(self, *, none_as_null: bool) -> None:
        super().__init__()
        self.none_as_null = none_as_null

    def process_bind_param(self, value: Any, dialect: object) -> str | None:
        del dialect
        return None if value is None and self.none_as_null else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: object) -> Any:
        del dialect
        return None if value is None else json.loads(value)


# A step can lie beyond 2**31 - 1 where a stress test stretches the horizon.
_steps = sa.BigInteger().with_variant(sa.Integer, "sqlite")

metadata = sa.MetaData()
meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", _json(none_as_null=False), nullable=False),
)
trials = sa.Table(
    "trials",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("origin", sa.String(16), nullable=False),  # baseline, search or stress
    sa.Column("config", _json(none_as_null=False), nullable=False),
    sa.Column("draws", _json(none_as_null=False), nullable=False),  # by parameter name
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("result", _json(none_as_null=True)),
    sa.Column("told", sa.Integer, unique=True),  # 1, 2, ... in the order of the telling
    sa.Column("error", _Text),  # why a FAIL trial was given up
    sa.Column("stress", _json(none_as_null=True)),  # of a stress trial: what it tests
)
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("trial", sa.ForeignKey(trials.c.number), nullable=False, index=True),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("horizon", _steps, nullable=False),
    sa.Column("step", _steps, nullable=False),
    sa.Column("row_file", sa.String(255)),
    sa.Column("result", _json(none_as_null=True)),
    sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),
)
spans = sa.Table(
    "spans",
    metadata,
    sa.Column("part", sa.String(255), primary_key=True),
    sa.Column("run", sa.ForeignKey(runs.c.id), primary_key=True),
    sa.Column("first", _steps, primary_key=True),
    sa.Column("stop", _steps, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial as the database has it.

    `told` is there once it was told; with it `result`, or for a FAIL trial `error`. `stress` is
    there for the trials of the stress test: `of`, the number of the trial that is tested, and
    `change`, what is different in its neighbour, or None.
    """

    number: int
    origin: str
    config: dict[str, Any]
    draws: dict[str, Any]
    state: str
    result: dict[str, Any] | None
    told: int | None
    error: str | None = None
    stress: dict[str, Any] | None = None


@dataclass(slots=True)
class RunRow:
    """A run as the database has it; `result` is there once it has ended.

    `deaths`: how often the lane of this run died with it since it last got ahead.
    """

    run: Run
    step: int
    row_file: str | None
    result: dict[str, Any] | None
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What one report changes, or one decision of the study.

    Args:
        saved: step by run of the rows in `row_file`.
        row_file: path of the rows that were saved.
        done: result by run.
        part: trajectories up to those steps.
        added: further runs of trials that are there.
        told: trials that have ended by this, with place in the telling and result or error.
        reset: runs that start anew: their row file could not be read.
        deaths: new count by run of the lanes that died with it.
        meta: values of the sweep to put.
    """

    saved: Mapping[int, int] = field(default_factory=dict)
    row_file: str | None = None
    done: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    part: Part | None = None
    added: Sequence[Run] = ()
    told: Sequence[Trial] = ()
    reset: Collection[int] = ()
    deaths: Mapping[int, int] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
