"""How many lanes a sweep has on a Ray cluster, and what each of them reserves."""

from __future__ import annotations

from dataclasses import dataclass

import ray

from sweeper.runtime import plan
from sweeper.spec import SweepSpec


@dataclass(frozen=True, slots=True)
class LaneCount:
    """The lanes of a launch.

    Args:
        total: lanes that are asked for; those that don't fit yet wait for nodes.
        fit: of them, those that the cluster has room for now, at least 1.
        gpus: that each of them reserves; 0 is a lane on one core.
    """

    total: int
    fit: int
    gpus: float


def count(spec: SweepSpec, *, grows: bool) -> LaneCount:
    """The lanes of a launch on the Ray that this process is connected to.

    Args:
        grows: whether nodes may join. Then as many lanes again wait as fit: they are what an
            autoscaler sees as demand, and what starts at once on a node that joins.
    """
    resources = ray.cluster_resources()
    gpus = _gpus(spec, resources.get("GPU", 0))
    fit = int(resources.get("GPU", 0) / gpus) if gpus else int(resources.get("CPU", 0))
    if spec.lanes.count != "auto":
        total = int(spec.lanes.count)
    else:
        wanted = max(1, fit) * (2 if grows else 1)
        total = max(1, min(wanted, plan.size(spec).runs))
    return LaneCount(total, max(1, min(fit, total)), gpus)


def _gpus(spec: SweepSpec, available: float) -> float:
    if spec.lanes.gpus != "auto":
        return float(spec.lanes.gpus)
    return 1.0 if available >= 1 else 0.0
