"""What TPE loses by a bounded history: the same searches with several bounds.

    python -m benchmarks.history --task formula|perceptron --trials 3000

`formula` is a smooth landscape over lr, eps, betas and amsgrad with a part that doesn't hold;
`perceptron` trains (horizon 1000, one seed, in this process). The last line is one JSON object: by
bound, means over the seeds of the search of the best robust_loss of what held, the median of the
last quarter of the trials, the share of it that held, and milliseconds of CPU time per trial.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from rich.console import Console

from benchmarks.throughput import SETTINGS, spec_of
from sweeper.ranking.evidence import is_feasible
from sweeper.runtime import launch
from sweeper.spec import check
from sweeper.study.search import Search

_OPEN, _TOLD_AT_ONCE = 128, 16
_HORIZON = 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=("formula", "perceptron"), default="formula")
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--bounds", type=json.loads, default=[None, 1000, 500, 250], help="JSON")
    arguments = parser.parse_args()
    search: Callable[[int, int | None, int], list[dict[str, Any]]] = (
        search_formula if arguments.task == "formula" else search_perceptron
    )
    found = {}
    for bound in arguments.bounds:
        rows = []
        for seed in range(arguments.seeds):
            began = time.process_time()
            trials = search(arguments.trials, bound, seed)
            cpu_ms = 1000 * (time.process_time() - began) / arguments.trials
            rows.append([*figures(trials), cpu_ms])
        means, errors = np.mean(rows, 0), np.std(rows, 0, ddof=1) / math.sqrt(len(rows))
        names = ("best", "late_median", "late_held", "cpu_ms")
        found[str(bound or "all")] = {
            name: [round(float(m), 4), round(float(e), 4)]
            for name, m, e in zip(names, means, errors, strict=True)
        }
        print(bound, found[str(bound or "all")], flush=True)
    print(json.dumps(found))


def figures(trials: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Best loss of what held; median loss and share that held of the last quarter."""
    late = trials[-len(trials) // 4 :]
    best = min(one["robust_loss"] for one in trials if is_feasible(one))
    held = np.mean([is_feasible(one) for one in late])
    return best, float(np.median([one["robust_loss"] for one in late])), float(held)


def search_formula(trials: int, bound: int | None, seed: int) -> list[dict[str, Any]]:
    """Results in the order of the telling; 16 are told at once, 128 are open."""
    raw = spec_of("formula", "perceptron", {}, SETTINGS["perceptron"], trials, Path("unused"))
    search = Search(check(raw).parsed_space, "tpe", seed, most=bound)
    waiting: list[tuple[int, dict[str, Any]]] = []
    found: list[dict[str, Any]] = []
    for number in range(trials):
        waiting.append((number, search.ask()[1]))
        if len(waiting) == _OPEN:
            for told, config in waiting[:_TOLD_AT_ONCE]:
                found.append(formula(config))
                search.tell(told, found[-1])
            del waiting[:_TOLD_AT_ONCE]
    return found


def formula(config: Mapping[str, Any]) -> dict[str, Any]:
    """The lowest losses lie near lr 3e-3, eps 1e-4, beta1 0.8 and beta2 0.99; without AMSGrad a
    large lr needs a large eps to hold."""
    lr, eps = math.log10(config["lr"]), math.log10(config["eps"])
    beta1, beta2 = config["betas"][0], math.log10(1 - config["betas"][1])
    loss = (lr + 2.5) ** 2 + (eps + 4) ** 2 / 4 + 4 * (beta1 - 0.8) ** 2 + (beta2 + 2) ** 2 / 3
    loss += 0.3 * math.sin(3 * lr) * math.cos(2 * eps)
    violation = lr + (0 if config["amsgrad"] else 1) - 0.3 * eps - 1
    return {"robust_loss": loss, "violation": violation, "failure_fraction": violation > 0}


def search_perceptron(trials: int, bound: int | None, seed: int) -> list[dict[str, Any]]:
    """Results of real runs in the order of the telling."""
    with tempfile.TemporaryDirectory(prefix="sweeper-history-") as folder:
        raw = spec_of("history", "perceptron", {}, SETTINGS["perceptron"], trials, Path(folder))
        raw |= {"horizon": _HORIZON, "tracking": {"children": 0}, "lanes": {"slots": 64}}
        raw["search"] = {"sampler": "tpe", "seed": seed, "history": bound or trials}
        handle = launch.launch(raw, local=True, console=Console(quiet=True))
        with closing(handle.folder.database()) as database:
            return [trial.result for trial in database.trials(told_after=0) if trial.result]


if __name__ == "__main__":
    main()
