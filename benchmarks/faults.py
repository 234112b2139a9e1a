"""A sweep under SIGKILLs, compared with an uninterrupted one.

    python -m benchmarks.faults --kills 50 [--seed 0]

Lanes, the study, the tracker, nodes (a raylet with its lanes) and the driver are killed at seeded
random moments after the first report, with progress between two kills; a killed driver is resumed,
a killed node is replaced. The search does not depend on the order of the reports (Sobol points)
and all lanes have one capacity, so every trial and every trajectory has to come out the same, bit
for bit. The last line is one JSON object; `lost`, `duplicates` and `differing` have to be 0.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.fault_compare import compare
from benchmarks.fault_victims import TARGETS, Machines, Victims
from sweeper.runtime.launch import launch
from sweeper.spec import SweepSpec, check
from sweeper.study.folder import Folder

_STALLED_S = 180.0
_FIRST = ("lane", "lane", "study", "tracker", "node", "driver")
# Kills of each kind among a hundred, roughly.
_WEIGHTS = {"lane": 40, "study": 20, "tracker": 15, "node": 12, "driver": 13}


def main() -> None:
    """Run, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, help="default: 4 a kill")
    parser.add_argument("--horizon", type=int, default=4000)
    arguments = parser.parse_args()
    trials = arguments.trials or max(16, 4 * arguments.kills)
    with tempfile.TemporaryDirectory(prefix="sweeper-faults-") as folder:
        found = measure(arguments.kills, arguments.seed, trials, arguments.horizon, Path(folder))
    print(json.dumps(found))
    sys.exit(1 if found["lost"] or found["duplicates"] or found["differing"] else 0)


def measure(kills: int, seed: int, trials: int, horizon: int, folder: Path) -> dict[str, Any]:
    """Kill `kills` times and compare; the JSON object of the last line."""
    whole = spec_of("whole", trials, horizon, folder)
    broken = spec_of("broken", trials, horizon, folder)
    with Machines() as machines, Victims(machines, broken) as victims:
        started = time.monotonic()
        done = kill_on(victims, Folder(broken.folder), kills, random.Random(seed))
        victims.await_end()
        seconds = time.monotonic() - started
    launch(whole, local=True, console=Console(quiet=True))
    differences = compare(Folder(whole.folder), Folder(broken.folder))
    return {
        "kills": {target: done[target] for target in TARGETS},
        **differences,
        "seconds": round(seconds, 1),
    }


def spec_of(name: str, trials: int, horizon: int, folder: Path) -> SweepSpec:
    """The sweep: small packs and long runs, so that kills hit runs in the middle."""
    return check(
        {
            "name": name,
            "task": "perceptron",
            "horizon": horizon,
            "seeds": 2,
            "baseline": {"optimizer": "adam", "lr": 1e-3},
            "space": {
                "lr": {"log_uniform": [1e-5, 1e-1]},
                "eps": {"log_uniform": [1e-10, 1.0]},
                "amsgrad": {"choice": [False, True]},
            },
            "search": {"sampler": "qmc"},
            "budget": {"trials": trials},
            "stress": {"top": 0},
            "lanes": {"slots": 8, "count": 2, "save": 3.0, "silence": 20.0},
            "storage": str(folder),
        }
    )


def kill_on(victims: Victims, folder: Folder, kills: int, rng: random.Random) -> Counter[str]:
    """Kill until it is enough, or the sweep is over."""
    done: Counter[str] = Counter()
    kinds, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    before = 0
    for number in range(kills):
        before = await_progress(victims, folder, before)
        if victims.is_finished():
            break
        time.sleep(rng.uniform(0.0, 1.0))
        # The first kills are one of each kind, the lane twice in a row: a short run has them all.
        target = _FIRST[number] if number < len(_FIRST) else rng.choices(kinds, weights)[0]
        if await_kill(victims, target, rng):
            done[target] += 1
            print(f"kill {number + 1}: {target} after {before:,} run-steps", flush=True)
    return done


def await_kill(victims: Victims, target: str, rng: random.Random) -> bool:
    """Kill one of a kind as soon as there is one: it may be starting again."""
    deadline = time.monotonic() + _STALLED_S
    while time.monotonic() < deadline and not victims.is_finished():
        if victims.kill(target, rng):
            return True
        time.sleep(0.1)
    return False


def await_progress(victims: Victims, folder: Folder, before: int) -> int:
    """Wait until more run-steps are on disk than before; returns how many."""
    deadline = time.monotonic() + _STALLED_S
    while time.monotonic() < deadline:
        if victims.is_finished():
            return before
        steps = saved_steps(folder)
        if steps > before:
            return steps
        time.sleep(0.2)
    raise SystemExit(f"no progress for {_STALLED_S:.0f} s")


def saved_steps(folder: Folder) -> int:
    """Run-steps that can't be lost any more."""
    if not folder.exists:
        return 0
    database = folder.database()
    try:
        return sum(row.step for row in database.runs())
    finally:
        database.close()


if __name__ == "__main__":
    main()
