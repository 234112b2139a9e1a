"""The same search as a user would write it today: Ray Tune, OptunaSearch, MLflow's callback.

Every trial is one run with torch's own fused Adam on one thread and one core, logged as one
MLflow run with a loss curve of 20 points. As a newcomer writes it (`tuned=False`) every trial
starts a process of its own, and nothing is said about concurrency. Tuned, processes are reused,
and as many trials as cores run at once. The callback writes the numbers of a report (14, the
configuration among them) to the database one by one, in the process that also starts the trials:
280 writes a run. With `reports=1` a run has no curve, and that trouble is gone.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Ray and MLflow read these when imported.
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import mlflow
import optuna
import ray
import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch
from torch import Tensor

from sweeper.tasks.registry import TaskName
from sweeper.tasks.task import Task

REPORTS = 20
SEED = 0
_EXPERIMENT = "plain"
_DIVERGED = 1e30  # what a user reports for nan or inf, which Optuna and SQLite turn down


@dataclass(frozen=True, slots=True)
class PlainResult:
    """One finished search.

    Args:
        run_steps: optimizer steps taken by all its runs together.
        seconds: wall time of `Tuner.fit()`, MLflow's last record included, Ray's start not.
    """

    run_steps: int
    seconds: float


def run_plain(
    task: str,
    task_args: Mapping[str, Any],
    horizon: int,
    trials: int,
    folder: Path,
    tuned: bool,
    reports: int = REPORTS,
) -> PlainResult:
    """Searches Adam's hyperparameters and times it; `folder` gets Ray's files and the database.

    A run reports its loss `reports` times at equal intervals.

    Starts Ray if it is not up yet, before the clock starts.

    Raises:
        RuntimeError: a trial failed or was not recorded as finished.
    """
    _hush()
    # As from a user's script: else every worker would import this module, and MLflow with it.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    start_ray()
    uri = f"sqlite:///{folder.resolve()}/plain_mlflow.db"
    known = _create_experiment(uri, folder)
    name = TaskName(task, dict(task_args))
    tuner = _tuner(_trainable(name, horizon, reports), trials, folder, uri, tuned)
    start = time.perf_counter()
    results = tuner.fit()
    seconds = time.perf_counter() - start
    _check(results, trials)
    _check_recorded(uri, known + trials)
    return PlainResult(trials * horizon, seconds)


def start_ray(cores: int | None = None) -> None:
    """Brings up a quiet local Ray with that many cores (all of the machine's) if none is up."""
    if not ray.is_initialized():
        ray.init(
            address="local",
            num_cpus=cores or os.cpu_count(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


def _hush() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in ("ray.tune", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)


def mini_batches(task: Task, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches: a fresh permutation every epoch, an incomplete last batch dropped."""
    inputs, targets = task.data
    if task.batch_size is None:
        while True:
            yield inputs, targets
    generator = torch.Generator().manual_seed(seed)
    used = task.epoch_steps * task.batch_size
    while True:
        order = torch.randperm(len(inputs), generator=generator)[:used]
        chosen = order.view(task.epoch_steps, task.batch_size)
        yield from zip(inputs[chosen], targets[chosen], strict=True)


def report_steps(horizon: int, reports: int) -> frozenset[int]:
    """Steps (counted from 1) after which a run of `horizon` steps reports; the last is one."""
    return frozenset(max(1, round(horizon * (i + 1) / reports)) for i in range(reports))


def _trainable(name: TaskName, horizon: int, reports: int) -> Callable[[dict[str, Any]], None]:
    reported = report_steps(horizon, reports)

    def train(config: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        task = name.build()
        model = task.initial(SEED)
        optimizer = _adam(model, config)
        for step, (inputs, targets) in enumerate(mini_batches(task, SEED), start=1):
            optimizer.zero_grad()
            loss = task.loss(model(inputs), targets)
            loss.backward()
            optimizer.step()
            if step in reported:
                tune.report({"loss": _finite(loss.item())})
            if step == horizon:
                break

    return train


def _adam(model: torch.nn.Module, config: Mapping[str, Any]) -> torch.optim.Adam:
    return torch.optim.Adam(
        model.parameters(),
        lr=config["lr"],
        betas=(config["beta1"], 1 - config["one_minus_beta2"]),
        eps=config["eps"],
        amsgrad=config["amsgrad"],
        fused=True,
    )


def _finite(loss: float) -> float:
    return min(loss, _DIVERGED) if math.isfinite(loss) else _DIVERGED


def _space() -> dict[str, Any]:
    return {
        "lr": tune.loguniform(1e-5, 1e-1),
        "eps": tune.loguniform(1e-10, 1.0),
        "beta1": tune.uniform(0.5, 0.98),
        "one_minus_beta2": tune.loguniform(1e-4, 0.2),
        "amsgrad": tune.choice([False, True]),
    }


def _tuner(
    train: Callable[[dict[str, Any]], None], trials: int, folder: Path, uri: str, tuned: bool
) -> tune.Tuner:
    sampler = optuna.samplers.TPESampler(seed=SEED)
    search = OptunaSearch(metric="loss", mode="min", sampler=sampler)
    settings = tune.TuneConfig(search_alg=search, num_samples=trials)
    if tuned:
        settings.reuse_actors = True
        settings.max_concurrent_trials = int(ray.cluster_resources()["CPU"])
    callback = MLflowLoggerCallback(tracking_uri=uri, experiment_name=_EXPERIMENT)
    run = tune.RunConfig(
        storage_path=str(folder.resolve() / "ray"), verbose=0, callbacks=[callback]
    )
    return tune.Tuner(train, param_space=_space(), tune_config=settings, run_config=run)


def _create_experiment(uri: str, folder: Path) -> int:
    """Creates database and experiment where missing; the number of runs it holds already."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    if client.get_experiment_by_name(_EXPERIMENT) is None:
        location = (folder.resolve() / "artifacts").as_uri()
        client.create_experiment(_EXPERIMENT, artifact_location=location)
    return _finished_runs(uri)


def _finished_runs(uri: str) -> int:
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(_EXPERIMENT)
    assert experiment is not None
    places, wanted = [experiment.experiment_id], "attributes.status = 'FINISHED'"
    page = client.search_runs(places, wanted)
    found = len(page)
    while page.token:
        page = client.search_runs(places, wanted, page_token=page.token)
        found += len(page)
    return found


def _check(results: tune.ResultGrid, trials: int) -> None:
    if results.errors:
        raise RuntimeError(f"{len(results.errors)} plain trials failed: {results.errors[0]}")
    metrics = [results[i].metrics or {} for i in range(len(results))]
    ended = sum("loss" in values for values in metrics)
    if ended != trials:
        raise RuntimeError(f"{ended} of {trials} plain trials ended with a loss")


def _check_recorded(uri: str, expected: int) -> None:
    if (found := _finished_runs(uri)) != expected:
        raise RuntimeError(f"MLflow holds {found} finished runs, expected {expected}")


def main() -> None:
    """Runs one search in a temporary folder and prints one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--task", default="perceptron")
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--horizon", type=int, default=500)
    parser.add_argument("--tuned", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run_plain(args.task, {}, args.horizon, args.trials, Path(folder), args.tuned)
    print(
        f"{args.task} tuned={args.tuned}: {args.trials} trials of {args.horizon} steps in "
        f"{result.seconds:.1f} s, {args.trials / result.seconds:.3g} trials/s, "
        f"{result.run_steps / result.seconds:.4g} run-steps/s"
    )


if __name__ == "__main__":
    main()
