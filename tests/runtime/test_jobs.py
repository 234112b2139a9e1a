"""Sweeps on a cluster that is reached by HTTP alone: a real one, with token authentication."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from clusters import Cluster
from live_sweeps import assert_whole, database, write_spec

OWN_TASK = """
import sweeper, torch
from torch import nn

x = torch.linspace(-1, 1, 64).unsqueeze(1)

def build():
    return sweeper.Task(
        model=lambda: nn.Linear(1, 1), loss=nn.functional.mse_loss, data=(x, 2 * x)
    )
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        found.start(cores=2)
        yield found
    finally:
        found.end()


def state(cluster: Cluster, name: str, cwd: Path) -> dict[str, Any]:
    """What `sweeper status` says; nothing while the launch is starting."""
    done = cluster.sweeper("status", name, "--format", "json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout or "{}"))


def wait_for(condition: Callable[[], Any], within_s: float = 120.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.3)
    return found


def submit(cluster: Cluster, folder: Path, name: str, **changes: Any) -> None:
    spec = write_spec(folder, name=name, **changes)
    done = cluster.sweeper("launch", spec, "--storage", folder / "there", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert f"{name}: submitted to {cluster.address} as job {name}-1" in done.stdout


@pytest.mark.timeout(300)
def test_a_users_own_task_is_submitted_and_asked_for_from_another_folder(
    cluster: Cluster, tmp_path: Path
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for folder in (here, elsewhere):
        folder.mkdir()
    (here / "my_model.py").write_text(OWN_TASK)
    (here / ".gitignore").write_text("secret.txt\n")
    (here / "secret.txt").write_text("stays here")
    submit(cluster, here, "small", task="my_model:build", stress={"top": 1, "horizon": "2x"})
    again = cluster.sweeper("launch", here / "spec.yaml", "--storage", here / "there", cwd=here)
    assert again.returncode == 2
    assert "is running already there, as job small-1" in again.stderr

    followed = cluster.sweeper("logs", "small", "--follow", cwd=elsewhere)  # until it ends
    assert "Recommended: trial" in followed.stdout, followed.stdout + followed.stderr
    assert "starting Ray lanes" in followed.stdout
    assert state(cluster, "small", elsewhere)["state"] == "finished"
    assert_whole_search(here / "there", trials=8)

    best = cluster.sweeper("best", "small", "--format", "json", "--top", "3", cwd=elsewhere)
    assert [row["rank"] for row in json.loads(best.stdout)] == [1, 2, 3]
    exported = cluster.sweeper("export", "small", cwd=elsewhere)
    assert json.loads(exported.stdout)["config"] == json.loads(best.stdout)[0]["config"]
    arguments = ("trajectories", "small", "--trial", "1", "--series", "loss", "-o", "loss.csv")
    written = cluster.sweeper(*arguments, cwd=elsewhere)
    assert written.returncode == 0, written.stderr
    with (elsewhere / "loss.csv").open() as file:
        assert len(list(csv.DictReader(file))) >= 2 * 200
    assert cluster.sweeper("report", "small", cwd=elsewhere).stdout == "small.html\n"
    assert "<html" in (elsewhere / "small.html").read_text()
    # Binary output survives the way back.
    bits = cluster.sweeper(
        "trajectories", "small", "--trial", "1", "-o", "t.parquet", cwd=elsewhere
    )
    assert bits.returncode == 0, bits.stderr
    assert pq.read_table(elsewhere / "t.parquet")["run"].null_count == 0
    # What is wrong there is one message here.
    nothing = cluster.sweeper("best", "smal", "--storage", here / "there", cwd=elsewhere)
    assert nothing.returncode == 2
    assert "Did you mean 'small'?" in nothing.stderr
    assert {"small-1"} < set(cluster.jobs())
    assert len(cluster.jobs()) < 5  # those that only asked are forgotten, but for the last
    assert_no_secret(cluster, tmp_path)


def assert_whole_search(storage: Path, trials: int) -> None:
    with closing(database(storage)) as found:
        searched = [trial for trial in found.trials() if trial.origin != "stress"]
    assert len(searched) == trials
    assert all(trial.told for trial in searched)


def assert_no_secret(cluster: Cluster, *folders: Path) -> None:
    """The token is in the file that the cluster reads, and nowhere else."""
    for folder in folders:
        for path in folder.rglob("*"):
            assert not path.is_file() or cluster.token.encode() not in path.read_bytes(), path
    assert cluster.token not in repr(cluster.jobs())


@pytest.mark.timeout(300)
def test_stop_and_ray_s_own_stop_save_the_rows_and_resume_goes_on(
    cluster: Cluster, tmp_path: Path
) -> None:
    name = "longer"
    # Long enough to be stopped twice on the way, with few rows, so that its end comes soon.
    raw = {"horizon": 100_000, "seeds": 1, "budget": {"trials": 3}}
    submit(cluster, tmp_path, name, **raw, lanes={"slots": 8, "count": 1})
    wait_for(lambda: run_steps(tmp_path / "there", name))
    stopped = cluster.sweeper("stop", name, cwd=tmp_path)
    assert stopped.returncode == 0, stopped.stderr
    assert f"sweeper resume {name} --address {cluster.address}" in stopped.stdout
    assert_saved(tmp_path / "there", name)
    resumed = cluster.sweeper("resume", name, cwd=tmp_path)
    assert "as job longer-2" in resumed.stdout, resumed.stderr
    before = run_steps(tmp_path / "there", name)
    wait_for(lambda: run_steps(tmp_path / "there", name) > before)
    # `ray job stop` is SIGTERM, then time to save.
    cluster.request("POST", f"/api/jobs/{name}-2/stop")
    wait_for(lambda: cluster.jobs()[f"{name}-2"]["status"] == "STOPPED")
    assert state(cluster, name, tmp_path)["state"] == "interrupted"
    assert_saved(tmp_path / "there", name)
    resumed = cluster.sweeper("resume", name, cwd=tmp_path)
    assert "as job longer-3" in resumed.stdout, resumed.stderr
    cluster.sweeper("logs", name, "--follow", cwd=tmp_path)
    assert_whole(tmp_path / "there", trials=3, seeds=1, horizon=100_000, name=name)


def run_steps(storage: Path, name: str) -> int:
    """What the study has heard of."""
    if not (storage / name / "sweep.yaml").exists():
        return 0
    with closing(database(storage, name)) as found:
        return int((found.meta("health") or {}).get("run_steps", 0))


def assert_saved(storage: Path, name: str) -> None:
    """Nothing is to be made again: what was trained is in row files that are there."""
    with closing(database(storage, name)) as found:
        rows = [row for row in found.runs() if row.result is None and row.step > 0]
        made = sum(row.step for row in found.runs())
        health = found.meta("health")
    assert rows
    assert all((storage / name / str(row.row_file)).exists() for row in rows)
    assert made >= health["run_steps"] > 0


@pytest.mark.timeout(120)
def test_what_keeps_a_cluster_from_answering_is_one_message(
    cluster: Cluster, tmp_path: Path
) -> None:
    wrong = cluster.sweeper("status", "small", cwd=tmp_path, RAY_AUTH_MODE="disabled")
    assert wrong.returncode == 2
    assert "wants a token" in wrong.stderr
    assert "RAY_AUTH_TOKEN_PATH" in wrong.stderr
    spec = write_spec(tmp_path, storage="relative/sweeps")
    relative = cluster.sweeper("launch", spec, cwd=tmp_path)
    assert relative.returncode == 2
    assert "'relative/sweeps' is relative" in relative.stderr
    missing = cluster.sweeper("launch", spec, "--working-dir", "nowhere", cwd=tmp_path)
    assert missing.returncode == 2
    assert "--working-dir: no folder 'nowhere'" in missing.stderr
    (tmp_path / "env.yaml").write_text("working_dir: .\n")
    taken = cluster.sweeper("launch", spec, "--runtime-env", tmp_path / "env.yaml", cwd=tmp_path)
    assert taken.returncode == 2
    assert "'working_dir' is set by the submission" in taken.stderr
    assert not [job for job in cluster.jobs().values() if job["status"] == "RUNNING"]


def test_doctor_compares_the_versions_of_client_and_cluster(
    cluster: Cluster, tmp_path: Path
) -> None:
    done = cluster.sweeper("doctor", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert found["nodes"]["text"] == "1: 2 CPUs and 0 GPUs for lanes"
    assert found["torch"]["good"]
