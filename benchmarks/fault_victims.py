"""A Ray cluster of several raylets on this machine, a sweep on it, and how parts are killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from sweeper.spec import SweepSpec

TARGETS = ("lane", "study", "tracker", "node", "driver")
_NODES = 2
# Tune wraps a trainable that wants resources.
_LANE = "ResourceTrainable"
# A dead raylet is noticed after a second and a half, not after fourteen.
_HEAD = {
    "num_cpus": 0,
    "include_dashboard": False,
    "_system_config": {
        "health_check_initial_delay_ms": 1000,
        "health_check_period_ms": 500,
        "health_check_failure_threshold": 3,
        "health_check_timeout_ms": 1000,
    },
}


class Machines:
    """A head and two nodes of one CPU each."""

    def __enter__(self) -> Machines:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        self._cluster = Cluster(initialize_head=True, head_node_args=_HEAD)
        self._nodes = [self._cluster.add_node(num_cpus=1) for _ in range(_NODES)]
        self.address = str(self._cluster.address)
        return self

    def __exit__(self, *error: object) -> None:
        self._cluster.shutdown()

    def workers(self, title: str) -> list[psutil.Process]:
        """Ray's workers on these machines whose process title begins so."""
        children = psutil.Process().children(recursive=True)
        return [one for one in children if _title(one).startswith(f"ray::{title}")]

    def kill_node(self, rng: random.Random) -> None:
        """SIGKILL a raylet; its lanes have to end themselves. Another node takes its place."""
        node = self._nodes.pop(rng.randrange(len(self._nodes)))
        raylet = node.all_processes["raylet"][0].process
        lanes = [one for one in self.workers(_LANE) if one.ppid() == raylet.pid]
        raylet.kill()
        _, alive = psutil.wait_procs(lanes, timeout=10)
        assert not alive, f"lanes outlived their node: {alive}"
        self._cluster.remove_node(node, allow_graceful=False)
        self._nodes.append(self._cluster.add_node(num_cpus=1))


class Victims:
    """The processes of a sweep; its driver is started, and started again after it was killed."""

    def __init__(self, machines: Machines, spec: SweepSpec) -> None:
        self._machines, self._spec = machines, spec
        self._path = Path(spec.storage) / f"{spec.name}.json"  # which is YAML, too
        self._path.write_text(spec.model_dump_json())

    def __enter__(self) -> Victims:
        self._start_driver()
        return self

    def __exit__(self, *error: object) -> None:
        self._driver.kill()
        self._driver.wait()

    def is_finished(self) -> bool:
        """Whether the driver has ended by itself; raises SystemExit when that was an error."""
        code = self._driver.poll()
        if code not in (None, 0):
            raise SystemExit(f"the driver ended with code {code}: see {self._log}")
        return code == 0

    def await_end(self, *, within_s: float = 900.0) -> None:
        """Wait until the sweep is over."""
        deadline = time.monotonic() + within_s
        while not self.is_finished():
            if time.monotonic() > deadline:
                raise SystemExit("the sweep does not end")
            time.sleep(0.2)

    def kill(self, target: str, rng: random.Random) -> bool:
        """SIGKILL one process of a kind; False when there is none right now."""
        if target == "node":
            self._machines.kill_node(rng)
            return True
        if target == "driver":
            self._driver.kill()
            self._driver.wait()
            self._start_driver()
            return True
        found = self._find(target)
        if not found:
            return False
        victim: Any = rng.choice(sorted(found, key=lambda one: one.pid))
        victim.kill()
        return True

    def _find(self, target: str) -> list[psutil.Process]:
        if target == "tracker":
            children = psutil.Process(self._driver.pid).children()
            return [one for one in children if "sweeper.tracking" in " ".join(_command(one))]
        return self._machines.workers({"lane": _LANE, "study": "StudyActor"}[target])

    def _start_driver(self) -> None:
        self._log = self._path.with_suffix(".log")
        with self._log.open("ab") as file:
            command = ["-m", "benchmarks.fault_driver", self._machines.address, str(self._path)]
            self._driver = subprocess.Popen([sys.executable, *command], stdout=file, stderr=file)


def _title(process: psutil.Process) -> str:
    return " ".join(_command(process)[:1])


def _command(process: psutil.Process) -> list[str]:
    try:
        return [str(part) for part in process.cmdline()]
    except psutil.Error:
        return []
