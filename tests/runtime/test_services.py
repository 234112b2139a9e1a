"""All services real: study and MLflow in PostgreSQL, row files and artifacts in an object store.

The machine of the driver is lost with its folder; another one goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from clusters import free_port
from live_sweeps import COMMAND, SPEC, assert_whole, database, run, write_spec
from postgres_server import Server
from s3_server import BUCKET, S3Server

from sweeper import spec as spec_module
from sweeper.errors import SweepError
from sweeper.runtime import launch as launching
from sweeper.study.folder import Folder
from sweeper.tracking import opening, store

ARTIFACTS = "artifacts"


@pytest.fixture
def mlflow(s3: S3Server, postgres_server: Server, tmp_path: Path) -> Iterator[str]:
    """URI of an MLflow server over PostgreSQL with artifacts in S3."""
    del s3
    uri = f"http://127.0.0.1:{free_port()}"
    command = opening.command_line("server", "--port", uri.rpartition(":")[2])
    command += ["--workers", "1", "--backend-store-uri"]
    command += [postgres_server.url.replace("postgresql:", "postgresql+psycopg:")]
    command += ["--artifacts-destination", f"s3://{BUCKET}/{ARTIFACTS}"]
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=tmp_path,
            env=os.environ | store.SERVER_ENVIRONMENT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not answers(uri):
            assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.2)
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(uri: str) -> bool:
    try:
        store.check_reachable(uri)
    except SweepError:
        return False
    return True


def steps(folder: Path) -> dict[int, int]:
    """Steps on record, by run."""
    with closing(database(folder)) as found:
        return {row.run.id: row.step for row in found.runs()}


def configs(folder: Path) -> dict[int, Any]:
    with closing(database(folder)) as found:
        return {trial.number: trial.config for trial in found.trials()}


@pytest.mark.timeout(280)
def test_a_driver_is_lost_with_its_folder_and_another_machine_goes_on(
    tmp_path: Path, s3: S3Server, postgres_server: Server, mlflow: str
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    services = {
        "study_url": postgres_server.url,
        "files": f"s3://{BUCKET}/services",
        "tracking": {"uri": mlflow},
    }
    raw = {"horizon": 2000, "search": {"sampler": "random"}, "lanes": {"slots": 8, "save": 0.3}}
    spec = write_spec(first, **raw, **services)
    driver = subprocess.Popen(
        [*COMMAND, "launch", str(spec), "--local"], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while not (Folder(first / "small").exists and sum(steps(first).values())):
            assert time.monotonic() < deadline and driver.poll() is None
            time.sleep(0.1)
    finally:
        driver.kill()
        driver.wait()
    before, known = steps(first), configs(first)
    shutil.rmtree(first / "small")
    # Another sweep of that name is refused, and takes nothing over.
    other = run("launch", write_spec(second, **{**raw, "horizon": 3000}, **services), "--local")
    assert other.returncode == 2
    assert "exists with another horizon" in other.stderr
    done = run("launch", write_spec(second, **raw, **services), "--local")
    assert done.returncode == 0, done.stderr
    assert_whole(second, trials=8, horizon=2000)
    found = configs(second)
    assert {number: found[number] for number in known} == known
    # What was on record has not been made again: its parts of the trajectories still count.
    with closing(database(second)) as study:
        parts = study.parts([run for run, step in before.items() if step])
    names = {f"services/small/{part.path}" for part in parts}
    assert names <= {f"services/{name}" for name in s3.files("services")}
    # From MLflow alone, whose server has the artifacts in the object store.
    assert any(name.endswith("recommended.json") for name in s3.files(ARTIFACTS))
    best = run("best", "small", "--tracking", mlflow, "--top", "8", "--format", "json")
    assert best.returncode == 0, best.stderr
    assert {row["trial"] for row in json.loads(best.stdout)} == set(found)
    exported = run("export", "small", "--tracking", mlflow, "--format", "json")
    own = json.loads((second / "small" / "recommended.json").read_text())
    assert json.loads(exported.stdout)["config"] == own["config"]


def test_a_sweep_that_runs_elsewhere_is_not_taken_over(
    tmp_path: Path, s3: S3Server, postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    del s3
    monkeypatch.setattr(launching, "_OTHERS_END_S", 0.2)
    raw = {**SPEC, "name": "held", "study_url": postgres_server.url,
           "files": f"s3://{BUCKET}/held", "tracking": {"later": True}}  # fmt: skip
    here = Folder(tmp_path / "here" / "held")
    here.create(spec_module.check({**raw, "storage": str(here.path.parent)}))
    with closing(here.database()) as running, running.lock():
        launch = running.begin_launch()
        running.join_launch(launch)
        with pytest.raises(SweepError, match="running already"):
            launching.launch({**raw, "storage": str(tmp_path / "there")}, local=True)
        running.put_meta(alive=True)  # it has not been fenced off
