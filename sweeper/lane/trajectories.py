"""Trajectories in Parquet: one part per lane and flush, sorted by (run, step).

The loss of every step; statistics and learning rate of every tenth; what a probe found at its
step. A part counts only with the spans that the study's database names, so a part that a crash
left behind is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeper.errors import SweepError
from sweeper.lane.storage import Storage
from sweeper.optim.catalog import SERIES

FOLDER = "trajectories"
# Of a probe, in float64, and the step that it forecasts.
PROBES = (
    "sharpness",
    "gradient_curvature",
    "moment_share",
    "top_eigenvalue",
    "bottom_eigenvalue",
    "hessian_trace",
)
FORECAST = "forecast_step"


class Piece(NamedTuple):
    """A part of the trajectory of one run.

    Args:
        run: its id.
        first: its first step.
        series: `[n, S]` in the order of SERIES.
        probes: within these steps, `step` and values by the names of PROBES and FORECAST.
    """

    run: int
    first: int
    series: np.ndarray
    probes: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """Steps `first` to `stop - 1` of a run, in one part."""

    run: int
    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class Part:
    """A file of trajectories and what of it counts."""

    path: str
    spans: tuple[Span, ...]


def write_part(storage: Storage, name: str, pieces: Iterable[Piece]) -> Part | None:
    """Write pieces as one part; None when there is no step."""
    kept = sorted((p for p in pieces if len(p.series)), key=lambda piece: piece[:2])
    if not kept:
        return None
    table = pa.concat_tables([_table(piece) for piece in kept])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=["run"])
    path = f"{FOLDER}/{name}.parquet"
    storage.write(path, sink.getvalue().to_pybytes())
    spans = tuple(Span(one.run, one.first, one.first + len(one.series)) for one in kept)
    return Part(path, spans)


def read(
    storage: Storage, parts: Sequence[Part], columns: Sequence[str] | None = None
) -> pa.Table:
    """All named trajectories, sorted; null where nothing is known.

    Args:
        columns: of SERIES, PROBES and FORECAST, all of them where not given; run and step always.

    Raises:
        SweepError: a part is gone or broken.
    """
    wanted = None if columns is None else ["run", "step", *columns]
    tables = [_named_rows(storage, part, wanted) for part in parts]
    if not tables:
        empty = _table(Piece(0, 0, np.empty((0, len(SERIES)), dtype=np.float32)))
        return empty if wanted is None else empty.select(wanted)
    # Parts of an earlier version have fewer columns.
    table = pa.concat_tables(tables, promote_options="default")
    for name in set(wanted or ()) - set(table.column_names):
        kind = pa.int64() if name == FORECAST else pa.float64()
        table = table.append_column(name, pa.nulls(len(table), kind))
    return table.sort_by([("run", "ascending"), ("step", "ascending")])


def _named_rows(storage: Storage, part: Part, columns: Sequence[str] | None) -> pa.Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(storage.read(part.path)))
        known = file.schema_arrow.names
        table = file.read(None if columns is None else [c for c in columns if c in known])
    except (OSError, pa.ArrowException) as error:
        raise SweepError(
            f"{part.path} can't be read: {error}",
            where=storage.folder,
            cure="Put a copy of it back; the sweep's results don't need it, its curves do.",
        ) from error
    runs, steps = table["run"].to_numpy(), table["step"].to_numpy()
    named = np.zeros(len(table), dtype=bool)
    for span in part.spans:
        named |= (runs == span.run) & (steps >= span.first) & (steps < span.stop)
    return table.filter(pa.array(named))


def _table(piece: Piece) -> pa.Table:
    run, first, series, probes = piece
    steps = np.arange(first, first + len(series), dtype=np.int32)
    columns = {
        "run": pa.array(np.full(len(series), run, dtype=np.int32)),
        "step": pa.array(steps),
        "loss": pa.array(np.ascontiguousarray(series[:, 0])),
    }
    for index, name in enumerate(SERIES[1:], start=1):
        column = np.ascontiguousarray(series[:, index])
        columns[name] = pa.array(column, mask=np.isnan(column))
    for name in (*PROBES, FORECAST):
        columns[name] = _sparse(name, {one["step"] - first: one[name] for one in probes}, steps)
    return pa.table(columns)


def _sparse(name: str, values: Mapping[int, Any], steps: np.ndarray) -> pa.Array:
    """A column that is null but at some places."""
    kind = pa.int64() if name == FORECAST else pa.float64()
    if not values:
        return pa.nulls(len(steps), kind)
    known = {place: value for place, value in values.items() if value is not None}
    column = np.zeros(len(steps), dtype=np.int64 if name == FORECAST else np.float64)
    is_null = np.ones(len(steps), dtype=bool)
    places = list(known)
    column[places], is_null[places] = list(known.values()), False
    return pa.array(column, mask=is_null, type=kind)
