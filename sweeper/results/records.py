"""Ranked trials as flat records: one column per result and setting, over one sweep or several."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sweeper.optim.configuration import flatten
from sweeper.ranking.evidence import Row


def records(sweep: str, ranking: Sequence[Row]) -> list[dict[str, Any]]:
    """A record per trial: sweep, results, objectives and settings by their own names."""
    return [
        {
            "sweep": sweep,
            **{k: v for k, v in row.items() if k not in ("config", "objectives")},
            **(row.get("objectives") or {}),
            **flatten(row["config"]),
        }
        for row in ranking
    ]


def with_all_columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records with the columns of all of them; None where one has no such value."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Records as CSV, with a line of names."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Records as a Parquet file; what has no single kind, such as a list, is text."""
    names = list(rows[0]) if rows else []
    columns = {name: _column([row[name] for row in rows]) for name in names}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue().to_pybytes())


def _column(values: Sequence[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and len(kinds) == 2:
        return pa.array([None if value is None else float(value) for value in values])
    if kinds <= {int} or kinds <= {float} or kinds <= {bool}:
        return pa.array(values)
    return pa.array([None if value is None else str(value) for value in values])
