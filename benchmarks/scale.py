"""A sweep of many trials: whether search and tracking keep up with the lanes, and what they cost.

    python -m benchmarks.scale --trials 10000

Perceptron, horizon 5000, one seed, TPE, stress test, on Ray lanes of this machine. The last
line is one JSON object:

- `trials_per_s`: trials of the search over the seconds from the start to MLflow's last record;
- `search_wait_share`: lane-seconds in which slots stood empty as the study had not given them a
  run, as the lanes measure it, over all lane-seconds;
- `tracking_wait_share`: seconds in which the study waited for the lock of its database, which the
  tracker reads, and the driver for the tracking process, over all lane-seconds. No call of a lane
  or of the study goes to the tracker;
- `study_cpu_share`, `tracker_cpu_share`: of the CPU time of all processes of the sweep;
- `tracker_lag_s`: the largest lag of MLflow's records while the lanes trained;
- `rss_mb_start`, `rss_mb_end`: driver and study together, after a tenth of the trials and when the
  last one was told;
- `reports_per_s`: calls that the study's Ray actor serves to 1,000 lanes that train nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports Ray or torch

import ray
from rich.console import Console

from benchmarks import plain
from benchmarks.reporting_lanes import RESULT_EVERY, served_in_process, served_over_ray
from benchmarks.throughput import SETTINGS, machine, spec_of
from benchmarks.watched import Watch
from sweeper.runtime import launch
from sweeper.runtime.recorder import Recorder
from sweeper.spec import SweepSpec, check
from sweeper.study.folder import Folder
from sweeper.tracking.process import read_progress

LANES = 1000
_SERVED_S = 10.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--lanes", type=int, default=LANES, help="that only report")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sweeper-scale-") as folder:
        plain.start_ray()
        served = measure_reports(arguments.lanes, Path(folder))
        print(json.dumps(served), flush=True)
        found = measure_sweep(arguments.trials, Path(folder))
        ray.shutdown()
    print(json.dumps({**found, **served, "machine": machine()}))


def measure_reports(lanes: int, folder: Path) -> dict[str, float]:
    """Reports a second that the study serves, in a Ray actor and in this process."""
    kinds = {"reports": RESULT_EVERY, "signs_of_life": 0, "results": 1}
    found: dict[str, float] = {}
    for name, every in kinds.items():
        for place, serve in (("", served_over_ray), ("_in_process", served_in_process)):
            key = f"{name}_per_s{place}"
            found[key] = round(serve(reporting_spec(key, folder), lanes, _SERVED_S, every), 1)
    return found


def reporting_spec(name: str, folder: Path) -> SweepSpec:
    """A search that costs nothing and doesn't end: the study alone is measured."""
    raw = spec_of(name, "perceptron", {}, SETTINGS["perceptron"], 1_000_000, folder)
    return check({**raw, "search": {"sampler": "random"}})


def measure_sweep(trials: int, folder: Path) -> dict[str, Any]:
    """The figures of one sweep."""
    raw = spec_of("scale", "perceptron", {}, SETTINGS["perceptron"], trials, folder)
    del raw["stress"]
    sweep = _Sweep(check(raw))
    with Watch(sweep.told) as watch, Timed(Recorder, "keep_alive") as blocked:
        started = time.perf_counter()
        sweep.blocked = blocked
        launch.launch(raw, console=Console(stderr=True))
        seconds = time.perf_counter() - started
    return {"trials": trials, "seconds": round(seconds, 1), **sweep.figures(watch, seconds)}


class _Sweep:
    """What a running sweep says of itself, looked at from time to time."""

    def __init__(self, spec: SweepSpec) -> None:
        self._spec, self._folder = spec, Folder(spec.folder)
        self.blocked = [0.0]
        self._blocked_s = 0.0
        self._lag_s = 0.0
        self._waits: dict[str, float] = {}
        self._trained_s: float | None = None
        self._began = time.perf_counter()

    def told(self) -> float | None:
        """Share of the trials of the search that were told; None before it began, and after."""
        with suppress(Exception), closing(self._folder.database()) as database:
            health = database.meta("health")
            if health is None or database.meta("ended") is not None:
                return None
            share = float(health["told"]) / self._spec.budget.trials
            self._waits, self._blocked_s = health["waits"], self.blocked[0]
            if share == 1:
                self._trained_s = self._trained_s or time.perf_counter() - self._began
            else:
                self._lag_s = max(self._lag_s, read_progress(self._folder.path)["lag_s"])
            return share
        return None

    def figures(self, watch: Watch, seconds: float) -> dict[str, Any]:
        """What the whole sweep came to."""
        seen = watch.seen
        total_s = sum(one.total_s for one in seen.values())
        lane_s = self._waits["lane_s"]
        rss = {
            kind: [_first(seen[kind].rss_mb, 0.1), _first(seen[kind].rss_mb, 1.0)]
            for kind in ("driver", "study", "tracker")
        }
        return {
            "trials_per_s": round(self._spec.budget.trials / seconds, 2),
            "training_seconds": round(self._trained_s or seconds, 1),
            "search_wait_share": round(self._waits["waited_s"] / lane_s, 4),
            "tracking_wait_share": round((self._waits["locked_s"] + self._blocked_s) / lane_s, 4),
            "lane_seconds": round(lane_s, 1),
            **{f"{kind}_cpu_share": round(one.total_s / total_s, 4) for kind, one in seen.items()},
            "cpu_seconds": round(total_s, 1),
            "tracker_lag_s": self._lag_s,
            "rss_mb_start": round(rss["driver"][0] + rss["study"][0], 1),
            "rss_mb_end": round(rss["driver"][1] + rss["study"][1], 1),
            "rss_mb": rss,
        }


def _first(samples: list[tuple[float, float]], share: float) -> float:
    """Memory when that share of the trials was told, or at the end, MB."""
    later = [rss for mark, rss in samples if mark >= share]
    return round(later[0] if later else samples[-1][1], 1)


class Timed:
    """Counts the seconds that all calls of a method take, in a list of one number."""

    def __init__(self, owner: type, name: str) -> None:
        self._owner, self._name, self._method = owner, name, getattr(owner, name)
        self.seconds = [0.0]

    def __enter__(self) -> list[float]:
        method, seconds = self._method, self.seconds

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                seconds[0] += time.perf_counter() - began

        setattr(self._owner, self._name, timed)
        return seconds

    def __exit__(self, *error: object) -> None:
        setattr(self._owner, self._name, self._method)


if __name__ == "__main__":
    main()
