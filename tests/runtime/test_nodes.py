"""A sweep over several raylets: nodes that join and die while it runs, GPUs that are logical."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster
from live_sweeps import assert_whole, database, write_spec

from sweeper.results.status import status
from sweeper.study.folder import Folder


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        found.start()
        yield found
    finally:
        found.end()


def wait_for(condition: Callable[[], Any], within_s: float = 90.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)
    return found


def training(folder: Path, name: str = "small") -> dict[str, int]:
    """Run-steps a second by node, of the lanes that hold runs."""
    home = Folder(folder / name)
    if not home.exists:
        return {}
    lanes = status(home)["lanes"]
    return {lane["node"]: lane["rate"] for lane in lanes if lane["held"] and lane["rate"]}


def demand(cluster: Cluster) -> int:
    """Lanes that wait for a place, as an autoscaler sees them."""
    code = (
        "from ray.autoscaler.v2.sdk import get_cluster_status as status\n"
        f"found = status({cluster.gcs!r}).resource_demands.placement_group_demand\n"
        "print(sum(one.bundles_by_count[0].count for one in found))"
    )
    return int(cluster.python(code))


def alive(cluster: Cluster) -> int:
    nodes = cluster.request("GET", "/nodes?view=summary")["data"]["summary"]
    return sum(node["raylet"]["state"] == "ALIVE" for node in nodes)


@pytest.mark.timeout(300)
def test_a_waiting_lane_starts_on_a_node_that_joins_and_takes_over_from_one_that_dies(
    cluster: Cluster, tmp_path: Path
) -> None:
    first = cluster.add_node()
    wait_for(lambda: alive(cluster) == 2)
    spec = write_spec(
        tmp_path,
        horizon=60_000,
        budget={"trials": 8},
        search={"sampler": "random"},
        lanes={"slots": 4, "save": 1.0, "silence": 8.0},
    )
    done = cluster.sweeper("launch", spec, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: len(training(tmp_path)) == 1)
    # One lane fits; one more waits, which is what an autoscaler acts on.
    assert demand(cluster) == 1
    cluster.add_node()
    both = wait_for(lambda: len(training(tmp_path)) == 2 and training(tmp_path))
    assert demand(cluster) == 0
    cluster.kill_node(first)
    wait_for(lambda: len(training(tmp_path)) == 1 and len(both) == 2)
    (left,) = wait_for(lambda: training(tmp_path))
    assert left in both
    wait_for(lambda: cluster.jobs()["small-1"]["status"] == "SUCCEEDED", 150)
    assert_whole(tmp_path, trials=8, horizon=60_000)
    with_deaths = [row for row in database(tmp_path).runs() if row.deaths]
    assert not with_deaths  # a node that is gone says nothing against its runs


@pytest.mark.timeout(180)
def test_lanes_by_gpu(cluster: Cluster, tmp_path: Path) -> None:
    """Ray counts GPUs by what it is told; a lane that has one and no CUDA says so."""
    cluster.add_node(cores=8, gpus=2)
    wait_for(lambda: alive(cluster) == 2)
    for gpus, lanes in ((0.5, 4), (2, 1), (0, 8)):
        spec = write_spec(tmp_path, lanes={"slots": 4, "gpus": gpus})
        assert counted(cluster, spec) == {"fit": lanes, "total": 2 * lanes, "gpus": gpus}
    spec = write_spec(tmp_path)
    assert counted(cluster, spec) == {"fit": 2, "total": 4, "gpus": 1}
    done = cluster.sweeper("launch", spec, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    followed = cluster.sweeper("logs", "small", "--follow", cwd=tmp_path)
    assert "Ray gave this lane a GPU" in followed.stdout
    assert "--set lanes.gpus=0" in followed.stdout
    assert cluster.jobs()["small-1"]["status"] == "FAILED"


def counted(cluster: Cluster, spec: Path) -> dict[str, float]:
    """The lanes that a launch on the cluster would have."""
    code = (
        "import dataclasses, json, sys\n"
        "from pathlib import Path\n"
        "from sweeper import spec\n"
        "from sweeper.runtime import lane_count, session\n"
        "session.join()\n"
        f"found = lane_count.count(spec.load(Path({str(spec)!r})), grows=True)\n"
        "print(json.dumps(dataclasses.asdict(found)))"
    )
    return dict(json.loads(cluster.python(code)))
