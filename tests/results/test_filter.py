"""Filters and records of ranked trials."""

from __future__ import annotations

import io

import pyarrow.parquet as pq
import pytest

from sweeper.errors import SweepError
from sweeper.results.filter import parse_filter
from sweeper.results.records import as_csv, as_parquet, records, with_all_columns

ROW = {
    "trial": 3,
    "failure_fraction": 0.0,
    "draw_up": 1.5,
    "onset_step": None,
    "objectives": {"accuracy": 0.9},
    "config": {"optimizer": "sgd", "lr": 1e-3, "nesterov": True, "schedule": {"kind": "cosine"}},
}
[RECORD] = records("one", [ROW])


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("failure_fraction = 0 and draw_up < 3", True),
        ("metrics.failure_fraction = 0 AND metrics.draw_up < 1", False),
        ("draw_up<=1.5 and draw_up>=1.5", True),
        ("params.lr != 1e-3", False),
        ("hp.lr > 1e-4", True),
        ("schedule.kind = 'cosine' and optimizer != \"adam\"", True),
        ("nesterov = true", True),
        ("`accuracy` > 0.8 and sweep = one", True),
        ("onset_step > 0", False),
        ("onset_step != 0", False),
    ],
)
def test_comparisons(text: str, passes: bool) -> None:
    assert parse_filter(text)(RECORD) is passes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "can't read"),
        ("draw_up", "can't read"),
        ("draw_up < 3 or lr > 1", "can't read 'or lr > 1'; allowed: and"),
        ("draw_up < 3 and", "can't read"),
        ("draw_u < 3", "no column 'draw_u'"),
        ("optimizer < 3", "optimizer is no number; allowed: =, !="),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(SweepError) as raised:
        parse_filter(text)(RECORD)
    assert says in str(raised.value)


def test_records_of_several_sweeps_share_their_columns() -> None:
    other = {**ROW, "config": {"optimizer": "adam", "lr": 1, "betas": [0.9, 0.99]}}
    rows = with_all_columns([RECORD, *records("two", [other])])
    assert rows[0]["beta1"] is None
    assert rows[1]["beta2"] == 0.99
    head, *lines = as_csv(rows).splitlines()
    assert head.startswith("sweep,trial,failure_fraction")
    assert len(lines) == 2
    table = pq.read_table(io.BytesIO(as_parquet(rows)))
    assert table["lr"].to_pylist() == [1e-3, 1.0]
    assert table["schedule.kind"].to_pylist() == ["cosine", None]
    assert as_csv([]) == "\n"
