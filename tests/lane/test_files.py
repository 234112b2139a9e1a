"""Files that a crash or a bad disk cut off: never taken for whole ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from sweeper.errors import SweepError
from sweeper.lane import rows, trajectories
from sweeper.lane.storage import Storage
from sweeper.optim.catalog import SERIES

_BLOCK = 4096


def cuts(size: int) -> range:
    """Every length that a write interrupted in the last block can have."""
    return range(max(0, size - _BLOCK), size)


def test_a_row_file_cut_off_anywhere_in_its_last_block_is_unreadable(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    saved = {
        run: {"theta": torch.arange(700.0) + run, "step": torch.tensor(run)} for run in (3, 4)
    }
    path = rows.write_rows(storage, "a", saved)
    whole = (tmp_path / path).read_bytes()
    assert torch.equal(rows.read_row(storage, path, 4)["theta"], saved[4]["theta"])
    for length in cuts(len(whole)):
        (tmp_path / path).write_bytes(whole[:length])
        with pytest.raises(rows.UnreadableError):
            rows.read_row(storage, path, 4)


def test_a_row_file_that_is_gone_or_of_other_runs_is_unreadable(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    path = rows.write_rows(storage, "a", {3: {"step": torch.tensor(3)}})
    with pytest.raises(rows.UnreadableError, match="no row of run 4"):
        rows.read_row(storage, path, 4)
    storage.remove(path)
    with pytest.raises(rows.UnreadableError):
        rows.read_row(storage, path, 3)


def test_a_trajectory_part_cut_off_anywhere_in_its_last_block_is_said(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    series = np.random.default_rng(0).random((1200, len(SERIES)), dtype=np.float32)
    part = trajectories.write_part(storage, "a", [trajectories.Piece(7, 0, series)])
    assert part is not None
    whole = (tmp_path / part.path).read_bytes()
    assert len(trajectories.read(storage, [part])) == 1200
    for length in cuts(len(whole)):
        (tmp_path / part.path).write_bytes(whole[:length])
        with pytest.raises(SweepError, match="can't be read"):
            trajectories.read(storage, [part])


def test_parts_of_an_earlier_version_have_nulls_where_they_have_no_column(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    series = np.ones((20, len(SERIES)), dtype=np.float32)
    old = trajectories.write_part(storage, "old", [trajectories.Piece(1, 0, series)])
    new = trajectories.write_part(storage, "new", [trajectories.Piece(1, 20, series)])
    assert old is not None
    assert new is not None
    path = tmp_path / old.path
    pq.write_table(pq.read_table(path).drop_columns(["param_norm", "update_cosine"]), path)
    table = trajectories.read(storage, [old, new])
    assert table["step"].to_pylist() == list(range(40))
    assert table["loss"].null_count == 0
    assert table["param_norm"].to_pylist() == [None] * 20 + [1.0] * 20


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    storage.write("rows/a", b"old")

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        storage.write("rows/a", b"new")
    assert storage.read("rows/a") == b"old"
    assert [path.name for path in (tmp_path / "rows").iterdir()] == ["a"]
