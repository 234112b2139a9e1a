"""What a Ray cluster consists of."""

from __future__ import annotations

import ray

from sweeper.doctor import Finding
from sweeper.errors import SweepError
from sweeper.runtime.session import join


def examine_nodes() -> Finding:
    """The living nodes of the cluster that this process belongs to."""
    try:
        join()
    except SweepError as error:
        return Finding("nodes", False, str(error))
    try:
        alive = [node for node in ray.nodes() if node["Alive"]]
        resources = ray.cluster_resources()
    finally:
        ray.shutdown()
    cores, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    return Finding("nodes", True, f"{len(alive)}: {cores:g} CPUs and {gpus:g} GPUs for lanes")
