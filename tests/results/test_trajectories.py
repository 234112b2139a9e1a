"""Trajectories as files, and the one-liners of docs/data.md on a real sweep."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from small_sweep import swept

from sweeper.errors import SweepError
from sweeper.results import trajectories
from sweeper.results.sweep import SweepHandle

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
LIBRARIES = {"duckdb": "duckdb", "pl": "polars", "pd": "pandas"}


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> SweepHandle:
    return swept(tmp_path_factory.mktemp("data"), budget={"trials": 4})


def test_csv_and_parquet_have_the_same(handle: SweepHandle, tmp_path: Path) -> None:
    found = trajectories.table(handle.folder, 1, ["loss", "lr"])
    for name in ("some.csv", "some.parquet"):
        trajectories.write(found, tmp_path / name)
    read = csv.read_csv(tmp_path / "some.csv"), pq.read_table(tmp_path / "some.parquet")
    assert read[0].num_rows == read[1].num_rows == len(found)
    assert found.column_names == ["trial", "stage", "seed", "run", "step", "loss", "lr"]
    searched = found.filter(found["stage"].to_numpy(zero_copy_only=False) == "search")
    assert searched["step"].to_pylist() == [*range(200), *range(200)]
    assert set(searched["seed"].to_pylist()) == {0, 1}


def test_the_stress_test_comes_with_its_trial(handle: SweepHandle) -> None:
    tested = next(row["trial"] for row in handle.ranking() if "stress_runs" in row)
    found = trajectories.table(handle.folder, tested, ["loss"])
    assert set(found["stage"].to_pylist()) == {"search", "stress"}


def test_what_is_not_there_is_one_message(handle: SweepHandle, tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="there is no trial 99; allowed: 0 to 3"):
        trajectories.table(handle.folder, 99)
    with pytest.raises(SweepError, match=r"no series 'los'.*Did you mean 'loss'"):
        trajectories.table(handle.folder, 1, ["los"])
    with pytest.raises(SweepError, match=r"some.txt.*allowed: .csv, .parquet"):
        trajectories.write(trajectories.table(handle.folder, 1), tmp_path / "some.txt")


@pytest.mark.parametrize("name", LIBRARIES)
def test_one_liners_of_the_documentation(
    handle: SweepHandle, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(LIBRARIES[name])
    blocks = re.findall(r"```python\n(.*?)\n```", PAGE.read_text(), flags=re.DOTALL)
    [block] = [one for one in blocks if f"{name}." in one]
    folder = handle.folder.path
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "perceptron").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    *before, last = block.strip().splitlines()
    known: dict[str, Any] = {"files": "sweeps/perceptron/trajectories/*.parquet"}
    exec("\n".join(before), known)
    found = eval(last, known)
    whole = trajectories.table(handle.folder, 1, ["loss"]).to_pandas()
    expected = whole.groupby("run")["loss"].min()
    seen = dict(zip(list(found["run"]), list(found["loss"]), strict=True))
    assert {run: seen[run] for run in expected.index} == expected.to_dict()
