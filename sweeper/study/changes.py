"""Writing to a study's tables, within a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from sweeper.lane.run import Run
from sweeper.lane.trajectories import Part
from sweeper.study.tables import Change, Trial, meta, runs, spans, trials

# To make a statement takes longer than to carry it out: those of every report are made once.
_LAUNCH = sa.select(meta.c.value).where(meta.c.key == "launch")
_LOCKED = {change: _LAUNCH.with_for_update(read=not change) for change in (False, True)}
# They set the columns that come with the rows.
_PUT_META = sa.update(meta).where(meta.c.key == sa.bindparam("of"))
_UPDATE_RUN = sa.update(runs).where(runs.c.id == sa.bindparam("of"))
_UPDATE_TRIAL = sa.update(trials).where(trials.c.number == sa.bindparam("of"))


def add_trials(connection: sa.Connection, new: Sequence[Trial], their: Sequence[Run]) -> None:
    """Add trials and their runs. What a lost answer left of the same ones is replaced."""
    _forget_unanswered(connection, [trial.number for trial in new])
    if new:
        connection.execute(sa.insert(trials), [_columns(trial) for trial in new])
    _insert_runs(connection, their)


def record(connection: sa.Connection, change: Change) -> None:
    """Put a change. Putting it once more, after a lost answer, changes nothing."""
    _record_runs(connection, change)
    if change.part:
        _put_part(connection, change.part)
    if change.added:
        mine = [run.id for run in change.added]
        known = set(connection.scalars(sa.select(runs.c.id).where(runs.c.id.in_(mine))))
        _insert_runs(connection, [run for run in change.added if run.id not in known])
    told = [{"of": trial.number, **_columns(trial)} for trial in change.told]
    _update(connection, _UPDATE_TRIAL, told)
    put_meta(connection, change.meta)


def put_meta(connection: sa.Connection, values: Mapping[str, Any]) -> None:
    """Put values of the sweep."""
    for key, value in sorted(values.items()):  # in order: two that put the same can't deadlock
        updated = connection.execute(_PUT_META, {"of": key, "value": value})
        if updated.rowcount == 0:
            connection.execute(sa.insert(meta).values(key=key, value=value))


def launch(connection: sa.Connection, *, change: bool = False) -> int | None:
    """The number of the last launch; nobody changes it until the transaction ends.

    Args:
        change: whether the caller may do so. On SQLite the write lock does both.
    """
    number: int | None = connection.scalar(_LOCKED[change])
    return number


def _insert_runs(connection: sa.Connection, new: Sequence[Run]) -> None:
    fresh = [
        {"id": r.id, "trial": r.trial, "seed": r.seed, "horizon": r.horizon, "step": 0}
        for r in new
    ]
    if fresh:
        connection.execute(sa.insert(runs), fresh)


def _forget_unanswered(connection: sa.Connection, numbers: Sequence[int]) -> None:
    """Forget trials that were committed though nobody was told so.

    Those that got any further stay, and adding them again is an error.
    """
    known = sa.select(trials.c.number).where(trials.c.number.in_(numbers)).limit(1)
    if connection.scalar(known) is None:
        return
    untouched = runs.c.trial.in_(numbers), runs.c.step == 0, runs.c.result.is_(None)
    connection.execute(sa.delete(runs).where(*untouched))
    has_runs = sa.select(runs.c.id).where(runs.c.trial == trials.c.number).exists()
    untold = trials.c.number.in_(numbers), trials.c.told.is_(None), ~has_runs
    connection.execute(sa.delete(trials).where(*untold))


def _record_runs(connection: sa.Connection, change: Change) -> None:
    if change.reset:
        connection.execute(sa.delete(spans).where(spans.c.run.in_(list(change.reset))))
    reset = [{"of": run, "step": 0, "row_file": None} for run in change.reset]
    saved = [
        {"of": run, "step": step, "row_file": change.row_file}
        for run, step in change.saved.items()
    ]
    done = [
        {"of": run, "step": result["steps"], "row_file": None, "result": dict(result)}
        for run, result in change.done.items()
    ]
    deaths = [{"of": run, "deaths": count} for run, count in change.deaths.items()]
    for rows in (reset, saved, done, deaths):
        _update(connection, _UPDATE_RUN, rows)


def _put_part(connection: sa.Connection, part: Part) -> None:
    own = {span.run for span in part.spans}
    connection.execute(sa.delete(spans).where(spans.c.part == part.path, spans.c.run.in_(own)))
    rows = [
        {"part": part.path, "run": span.run, "first": span.first, "stop": span.stop}
        for span in part.spans
    ]
    if rows:
        connection.execute(sa.insert(spans), rows)


def _update(
    connection: sa.Connection, query: sa.Update, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Update rows that have the same columns, in one go; `of` says which."""
    if rows:
        connection.execute(query, rows)


def _columns(trial: Trial) -> dict[str, Any]:
    return {column.name: getattr(trial, column.name) for column in trials.columns}
