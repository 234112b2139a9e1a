"""Trajectories of a trial as one table, and that table as a file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from sweeper.errors import SweepError, nearest, one_of
from sweeper.lane import trajectories
from sweeper.optim.catalog import SERIES
from sweeper.study.database import STRESS, Database
from sweeper.study.folder import Folder

COLUMNS = (*SERIES, *trajectories.PROBES, trajectories.FORECAST)
_SUFFIXES = (".csv", ".parquet")


def table(folder: Folder, trial: int, series: Sequence[str] | None = None) -> pa.Table:
    """Columns trial, stage (search or stress), seed, run, step and the series; by run and step.

    Args:
        trial: its number; with it come its runs in the stress test.
        series: of COLUMNS; all of them where not given.

    Raises:
        SweepError: unknown trial or series, or a file is gone.
    """
    wanted = list(series or COLUMNS)
    for name in wanted:
        if name not in COLUMNS:
            allowed, cure = one_of(COLUMNS), nearest(name, COLUMNS)
            raise SweepError(f"no series {name!r}", allowed=allowed, cure=cure)
    with closing(folder.database()) as database:
        stages = _stages(database, trial)
        runs = {row.run.id: row.run for row in database.runs(stages)}
        parts = database.parts(runs) if runs else []
    found = trajectories.read(folder.storage, parts, wanted)
    keys = found["run"].to_pylist()
    named = {
        "trial": pa.array([trial] * len(found), pa.int32()),
        "stage": pa.array([stages[runs[key].trial] for key in keys], pa.string()),
        "seed": pa.array([runs[key].seed for key in keys], pa.int64()),
    }
    columns = {**named, **{name: found[name] for name in ("run", "step", *wanted)}}
    return pa.table(columns)


def _stages(database: Database, trial: int) -> dict[int, str]:
    """The trial and its own stress test, by number."""
    trials = database.trials()
    if not any(one.number == trial and one.origin != STRESS for one in trials):
        count = sum(one.origin != STRESS for one in trials)
        raise SweepError(
            f"there is no trial {trial}", allowed=f"0 to {count - 1}" if count else ""
        )
    tests = {
        one.number: "stress"
        for one in trials
        if one.stress and one.stress["of"] == trial and one.stress["change"] is None
    }
    return {trial: "search", **tests}


def write(found: pa.Table, path: Path) -> None:
    """Write a table as CSV or Parquet, by the suffix of the path.

    Raises:
        SweepError: another suffix, or the file can't be written.
    """
    if path.suffix not in _SUFFIXES:
        raise SweepError(f"unknown kind of file {path.name!r}", allowed=one_of(_SUFFIXES))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        (pq.write_table if path.suffix == ".parquet" else csv.write_csv)(found, path)
    except OSError as error:
        raise SweepError(f"can't write {path}: {error.strerror or error}") from error


def count_steps(found: pa.Table) -> tuple[int, int]:
    """Runs and steps of a table."""
    return pc.count_distinct(found["run"]).as_py(), len(found)
