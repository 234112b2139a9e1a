"""Row files and trajectories in an object store: a real S3 server, which also goes away."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from live_sweeps import COMMAND, SPEC, assert_whole, database, run, write_spec
from s3_server import BUCKET, S3Server

from sweeper import spec as spec_module
from sweeper.errors import SweepError
from sweeper.lane import object_storage, rows, trajectories
from sweeper.lane.object_storage import ObjectStorage, storage_at
from sweeper.lane.storage import AwayError, Storage
from sweeper.optim.catalog import SERIES
from sweeper.study.folder import Folder


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """A folder of the bucket for one test."""
    return str(request.node.name)


@pytest.fixture
def storage(s3: S3Server, place: str) -> Storage:
    return storage_at(f"s3://{BUCKET}/{place}/sweeps/one")


def test_objects_are_written_read_listed_and_removed(
    storage: Storage, s3: S3Server, place: str
) -> None:
    storage.prove_writable()
    large = np.random.default_rng(0).bytes(3_000_000)
    storage.write("rows/a.safetensors", b"old")
    storage.write("rows/a.safetensors", large)
    storage.write("rows/b", b"")
    assert storage.read("rows/a.safetensors") == large
    assert storage.read("rows/b") == b""
    assert sorted(storage.names("rows")) == ["a.safetensors", "b"]
    assert storage.names("trajectories") == []
    storage.remove("rows/b")
    storage.remove("rows/b")
    assert s3.files(place) == ["sweeps/one/rows/a.safetensors"]
    with pytest.raises(FileNotFoundError):
        storage.read("rows/b")


@pytest.mark.parametrize("path", ["../two/a", "rows/../../a", "/a", "", "rows\\..\\a"])
def test_no_path_leads_out_of_the_folder(storage: Storage, path: str) -> None:
    for act in (storage.read, storage.remove, lambda path: storage.write(path, b"")):
        with pytest.raises(SweepError, match="leads out of"):
            act(path)


def test_rows_and_trajectories_are_those_of_a_folder(storage: Storage) -> None:
    row = {"theta": torch.arange(700.0), "step": torch.tensor(3)}
    path = rows.write_rows(storage, "a", {3: row})
    assert torch.equal(rows.read_row(storage, path, 3)["theta"], row["theta"])
    series = np.random.default_rng(0).random((30, len(SERIES)), dtype=np.float32)
    part = trajectories.write_part(storage, "a", [trajectories.Piece(7, 0, series)])
    assert part is not None
    assert trajectories.read(storage, [part])["loss"].to_pylist() == series[:, 0].tolist()


def test_a_server_that_is_down_is_away_and_its_rows_are_not_lost(
    storage: Storage, s3: S3Server
) -> None:
    path = rows.write_rows(storage, "a", {3: {"step": torch.tensor(3)}})
    with pytest.raises(rows.UnreadableError):  # the server says that there is no such row
        rows.read_row(storage, "rows/none.safetensors", 3)
    s3.kill()
    with pytest.raises(AwayError):
        rows.read_row(storage, path, 3)
    with pytest.raises(AwayError):
        storage.write("rows/b", b"new")
    with pytest.raises(AwayError):
        storage.names("rows")
    storage.remove(path)  # left to the next launch
    with pytest.raises(SweepError, match=r"^files: can't write to s3://.*credentials"):
        storage.prove_writable()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(rows.read_row, storage, path, 3)
        time.sleep(0.3)
        s3.start()
        assert int(reading.result()["step"]) == 3  # waited for


def test_wrong_credentials_and_a_bucket_that_is_not_there_are_told(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SweepError, match=r"^files: can't write to s3://none/one: .*bucket"):
        storage_at("s3://none/one").prove_writable()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebodyelse")
    with pytest.raises(SweepError, match=r"^files: can't write to .*Key.*environment"):
        storage_at(f"s3://{BUCKET}/other/one").prove_writable()


def test_a_store_that_knows_no_whole_objects_is_written_aside(tmp_path: Path) -> None:
    """fsspec's own file system of a machine, by a name for which nothing is known."""
    storage = ObjectStorage(f"local://{tmp_path}/one")
    storage.write("rows/a", b"old")
    storage.write("rows/a", b"new")
    assert storage.read("rows/a") == b"new"
    assert storage.names("rows") == ["a"]
    assert isinstance(storage_at(f"file://{tmp_path}"), Storage)
    assert not isinstance(storage_at(f"file://{tmp_path}"), ObjectStorage)


def test_a_missing_package_is_told_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # what an import of it then raises is real
    registry = importlib.import_module("fsspec.registry")
    monkeypatch.delitem(registry._registry, "s3", raising=False)  # a test before may have used it
    object_storage._file_system.cache_clear()
    with pytest.raises(SweepError, match=r"pip install 'sweeper\[s3\]'"):
        storage_at("s3://bucket/one").prove_writable()
    object_storage._file_system.cache_clear()


@pytest.mark.timeout(280)
def test_a_sweep_is_killed_with_its_store_and_goes_on(
    tmp_path: Path, s3: S3Server, place: str
) -> None:
    spec = write_spec(
        tmp_path,
        horizon=2000,
        search={"sampler": "random"},
        lanes={"slots": 8, "save": 0.3},
        files=f"s3://{BUCKET}/{place}",
        tracking={"later": True},
    )
    first = subprocess.Popen([*COMMAND, "launch", str(spec), "--local"], stderr=subprocess.DEVNULL)
    try:
        before = wait_for_steps(tmp_path, more_than=0)
        s3.kill()  # the lane trains on and waits with its files
        time.sleep(1.5)
        assert first.poll() is None
        s3.start()
        wait_for_steps(tmp_path, more_than=before)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    storage_at(f"s3://{BUCKET}/{place}/small").write("rows/orphan", b"of a crash")
    done = run("resume", "small", "--storage", tmp_path, "--local")
    assert done.returncode == 0, done.stderr
    assert_whole(tmp_path, trials=8, horizon=2000)
    home = tmp_path / "small"
    assert not (home / "rows").exists() and not (home / "trajectories").exists()
    left = s3.files(f"{place}/small")
    assert {"sweep.yaml", "recommended.json", "report/report.html"} <= set(left)
    assert not [name for name in left if name.startswith("rows/")]
    # What a user asks for is read from there, too.
    curve = run("trajectories", "small", "--storage", tmp_path, "--trial", "0", "-o",
                tmp_path / "loss.csv")  # fmt: skip
    assert curve.returncode == 0, curve.stderr
    assert len((tmp_path / "loss.csv").read_text().splitlines()) == 1 + 2 * 2000


def test_files_are_not_mixed_and_not_lost(tmp_path: Path, s3: S3Server, place: str) -> None:
    files = f"s3://{BUCKET}/{place}"
    raw = {**SPEC, "files": files}
    here = Folder(tmp_path / "here" / "small")
    here.create(spec_module.check({**raw, "storage": str(here.path.parent)}))
    assert here.storage.folder == f"{files}/small"
    assert s3.files(f"{place}/small") == ["sweep.yaml"]
    here.write_spec(spec_module.check({**raw, "files": f"{files}/", "budget": {"trials": 9}}))
    for other in (None, f"{files}2"):
        with pytest.raises(SweepError, match=rf"^files: .* are in {files}/small"):
            here.write_spec(spec_module.check({**raw, "files": other}))
    # Another machine, which has neither this folder nor its study.
    there = Folder(tmp_path / "there" / "small")
    for act in (there.create, there.make_again):
        with pytest.raises(SweepError, match=r"a sweep 'small' whose folder and study are"):
            act(spec_module.check(raw))
    assert not there.exists


def wait_for_steps(folder: Path, more_than: int) -> int:
    """Wait until more steps are on record, by row files and results."""
    deadline, found = time.monotonic() + 90, 0
    while not (Folder(folder / "small").exists and found > more_than):
        assert time.monotonic() < deadline, "no row file came"
        time.sleep(0.05)
        if Folder(folder / "small").exists:
            with closing(database(folder)) as study:
                found = sum(row.step for row in study.runs())
    return found


def test_an_own_loop_needs_a_file_system(
    tmp_path: Path, s3: S3Server, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text("def train(trial): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from sweeper.runtime.launch import check

    raw = {"name": "own", "task": "own:train", "horizon": 10, "space": {"lr": 1e-3}}
    spec = spec_module.check({**raw, "storage": str(tmp_path), "files": f"s3://{BUCKET}/{place}"})
    with pytest.raises(SweepError, match=r"has to be a folder of a file system"):
        check(spec)
    assert s3.files(place) == []
