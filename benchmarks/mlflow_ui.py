"""How quick the MLflow UI is on an experiment of many child runs: queries, and pages in Chromium.

    python -m benchmarks.mlflow_ui --trials 500

Runs a real sweep of that many trials (perceptron, horizon 200, one seed), serves its records with
`sweeper ui`, and says the median of five of each. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient

from benchmarks.browser import Browser, chromium, missing
from benchmarks.served_ui import served

_NAME = "many"
_TIMES = 5
_FILTER = "metrics.failure_fraction = 0 and metrics.draw_up < 3"
_SPEC = """\
name: many
task: perceptron
horizon: 200
seeds: 1
baseline: {optimizer: adam, lr: 1e-3}
space:
  optimizer: adam
  lr: {log_uniform: [1e-5, 10.0]}
  eps: {log_uniform: [1e-10, 1.0]}
  beta1: {uniform: [0.5, 0.98]}
  amsgrad: {choice: [false, true]}
search: {sampler: random}
stress: {top: 0}
"""


def main() -> None:
    """Sweep, serve, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500)
    trials = parser.parse_args().trials
    if (why := missing()) is not None:
        sys.exit(why)
    with tempfile.TemporaryDirectory() as folder:
        storage = Path(folder) / "sweeps"
        _sweep(Path(folder) / "many.yaml", storage, trials)
        with served(storage, _NAME) as link:
            found = {**_queries(link, trials), **_pages(link)}
    print(json.dumps({"trials": trials, "median_s": found}))


def _sweep(spec: Path, storage: Path, trials: int) -> None:
    spec.write_text(_SPEC)
    command = [sys.executable, "-m", "sweeper.cli", "launch", str(spec), "--local"]
    command += ["--storage", str(storage), "--set", f"budget.trials={trials}"]
    subprocess.run(command, check=True)


def _queries(link: str, trials: int) -> dict[str, float]:
    client = MlflowClient(link.partition("/#")[0])
    experiment = client.get_experiment_by_name(_NAME)
    assert experiment is not None

    def query(text: str) -> int:
        found = client.search_runs(
            [experiment.experiment_id], text, max_results=trials, order_by=["metrics.rank ASC"]
        )
        return len(found)

    everything = 'tags.`sweeper.trial` != ""'
    print(f"{query(everything)} trials, {query(_FILTER)} of them pass the filter", flush=True)
    return {
        "search_runs, all, by rank": _median(lambda: query(everything)),
        "search_runs, filter, by rank": _median(lambda: query(_FILTER)),
        "search_runs, recommended": _median(lambda: query('tags.`sweeper.recommended` = "true"')),
    }


def _pages(link: str) -> dict[str, float]:
    with chromium() as browser:
        return {
            "page, ranking": _median(lambda: _ranking(browser, link)),
            "page, charts": _median(lambda: _charts(browser, link)),
        }


def _ranking(browser: Browser, link: str) -> None:
    browser.open(link)
    browser.until(lambda: browser.column("metrics.`rank`")[:2] == ["1", "2"], "the ranking")


def _charts(browser: Browser, link: str) -> None:
    browser.open(link.replace("=ranking", "=charts") + "&compareRunsMode=CHART")
    browser.one(".parcoords")


def _median(action: Callable[[], object]) -> float:
    times = []
    for _ in range(_TIMES):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return round(statistics.median(times), 2)


if __name__ == "__main__":
    main()
