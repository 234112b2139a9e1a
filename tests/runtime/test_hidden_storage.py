"""A node that doesn't see the driver's folder: told at once, and no hindrance with files on S3."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from clusters import Cluster
from live_sweeps import assert_whole, database, write_spec
from s3_server import BUCKET, S3Server
from test_nodes import alive, training, wait_for

from sweeper.errors import SweepError
from sweeper.lane.storage import Storage
from sweeper.runtime import visibility
from sweeper.runtime.visibility import Token, check_token, leave_token


@pytest.fixture
def cluster(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    del s3  # its nodes get its credentials
    if subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"],
        check=False,
        capture_output=True,
    ).returncode:
        pytest.skip("mounting in a namespace is not permitted here")
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        found.start()
        yield found
    finally:
        found.end()


@pytest.mark.timeout(500)
def test_a_node_without_the_folder(cluster: Cluster, s3: S3Server, tmp_path: Path) -> None:
    storage = tmp_path / "sweeps"
    storage.mkdir()
    hidden = cluster.add_node(without=storage)
    wait_for(lambda: alive(cluster) == 2)
    cluster.launched(write_spec(storage), tmp_path)
    wait_for(lambda: cluster.jobs()["small-1"]["status"] in ("FAILED", "SUCCEEDED"))
    said = " ".join(cluster.sweeper("logs", "small", cwd=tmp_path).stdout.split())
    assert cluster.jobs()["small-1"]["status"] == "FAILED"
    assert f"doesn't see {storage / 'small'} of the driver on" in said
    assert "--set files=s3://bucket/sweeps" in said
    with closing(database(storage)) as found:
        assert not any(row.step for row in found.runs())
    # The same in an object store, with lanes on both sorts of nodes.
    cluster.add_node()
    wait_for(lambda: alive(cluster) == 3)
    spec = write_spec(
        storage,
        name="large",
        horizon=60_000,
        search={"sampler": "random"},
        lanes={"slots": 4, "save": 1.0},
        files=f"s3://{BUCKET}/hidden",
    )
    cluster.launched(spec, tmp_path)
    wait_for(lambda: len(training(storage, "large")) == 2, 150)
    wait_for(lambda: cluster.jobs()["large-1"]["status"] == "SUCCEEDED", 200)
    assert_whole(storage, trials=8, horizon=60_000, name="large")
    assert "sweep.yaml" in s3.files("hidden/large")
    # The lane of the hidden node left nothing in the folder that it took for the sweep's.
    listed = subprocess.run(
        ["nsenter", "--mount", "--target", str(hidden.pid), "ls", "-A", str(storage)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout == ""


def test_a_token_is_that_of_the_launch_and_of_the_folder(tmp_path: Path) -> None:
    here, there = Storage(str(tmp_path / "here")), Storage(str(tmp_path / "there"))
    token = leave_token(here, 2)
    check_token(here, token, "node")
    with pytest.raises(SweepError, match=r"the lane on node doesn't see .*it isn't there"):
        check_token(there, token, "node")
    leave_token(there, 2)
    with pytest.raises(SweepError, match=r"another folder is there"):
        check_token(there, token, "node")
    leave_token(here, 3)
    with pytest.raises(visibility.SupersededError):
        check_token(here, Token(2, token.word, "driver"), "node")
