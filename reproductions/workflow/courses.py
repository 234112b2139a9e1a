"""The sweep of the workflow, and the best of every schedule at shorter and shorter horizons."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import sweeper
from reproductions.progress import Progress
from reproductions.runs import Order, Outcome, train
from reproductions.scale import Scale
from reproductions.seeds import fresh
from sweeper.spec import load
from sweeper.tasks.bundled import digits_cnn

FILE = Path(__file__).parent.parent.parent / "search_spaces" / "workflow.yaml"
HORIZON, TRIALS, SEEDS = 1_000, 64, 4
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
JOKE = "the joke"
_LEAST = 12  # trials at a small scale: some of most schedules


@dataclass(frozen=True, slots=True)
class Method:
    """An optimizer with a schedule, and the best setting that the sweep found for it.

    Args:
        name: such as `adamw onecycle`; JOKE for Adam with 3e-4.
        rank: of that setting in the sweep; None for the joke.
        trials: of the sweep that had this optimizer and schedule.
        accuracy: held-out accuracy by horizon, `[seeds]`.
        loss: tail loss by horizon, `[seeds]`; infinite where a run has none.
    """

    name: str
    rank: int | None
    trials: int
    config: Mapping[str, Any]
    accuracy: Mapping[int, np.ndarray]
    loss: Mapping[int, np.ndarray]

    @property
    def optimizer(self) -> str:
        return str(self.config["optimizer"])

    @property
    def schedule(self) -> str:
        return str(self.config["schedule"]["kind"])


def measure(scale: Scale, progress: Progress) -> list[Method]:
    """The joke first, then every optimizer and schedule of the sweep."""
    ranking = _sweep(scale, progress)
    horizons = sorted({scale.unit(share * scale.steps(HORIZON)) for share in SHARES})
    seeds, bests = fresh(scale, SEEDS), _bests(ranking)
    progress.say(f"workflow: {len(bests)} settings, {len(horizons)} horizons, {len(seeds)} seeds")
    return methods(bests, horizons, seeds, scale)


def methods(
    bests: Sequence[tuple[str, int | None, int, dict[str, Any]]],
    horizons: Sequence[int],
    seeds: Sequence[int],
    scale: Scale,
) -> list[Method]:
    """Each (name, rank, trials, setting) trained to every horizon on every seed."""
    orders = [
        Order(config, steps, seed) for *_, config in bests for steps in horizons for seed in seeds
    ]
    outcomes = train(digits_cnn.build(), orders, compiled=scale.compiled)
    size = len(horizons) * len(seeds)
    return [
        Method(*best, *_ends(outcomes[place * size : (place + 1) * size], horizons))
        for place, best in enumerate(bests)
    ]


def _sweep(scale: Scale, progress: Progress) -> list[dict[str, Any]]:
    trials = max(_LEAST, scale.count(TRIALS))
    progress.say(f"workflow: range tests, and a sweep of {trials} trials")
    settings = [f"budget.trials={trials}", f"horizon={scale.steps(HORIZON)}", "stress.top=0"]
    settings.append("search.sampler=qmc")  # as many settings of every kind
    if scale.factor < 1:
        settings += ["lr_range.settings=2", "lr_range.seeds=1", "lr_range.steps=40"]
    with tempfile.TemporaryDirectory(prefix="reproduction-") as folder:
        spec = load(FILE, settings, storage=folder)
        return sweeper.launch(spec, local=True, console=Console(quiet=True)).ranking()


def _bests(
    ranking: Sequence[dict[str, Any]],
) -> list[tuple[str, int | None, int, dict[str, Any]]]:
    """Name, rank, number of trials and setting of the joke and of the best of each kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in ranking:
        config = row["config"]
        if row["origin"] == "search":
            found.setdefault(f"{config['optimizer']} {config['schedule']['kind']}", []).append(row)
    joke = next(row["config"] for row in ranking if row["origin"] == "baseline")
    kinds = [
        (name, int(rows[0]["rank"]), len(rows), rows[0]["config"])
        for name, rows in sorted(found.items())
    ]
    return [(JOKE, None, 1, joke), *kinds]


def _ends(
    outcomes: Sequence[Outcome], horizons: Sequence[int]
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Held-out accuracy and tail loss by horizon, `[seeds]` each."""
    by_horizon = {
        steps: [one for one in outcomes if one.order.horizon == steps] for steps in horizons
    }
    return (
        {steps: np.array([_accuracy(one) for one in of]) for steps, of in by_horizon.items()},
        {steps: np.array([_tail(one) for one in of]) for steps, of in by_horizon.items()},
    )


def _accuracy(outcome: Outcome) -> float:
    return outcome.metrics.get("held_out_accuracy", 0.0)  # 0 where the loss is not finite


def _tail(outcome: Outcome) -> float:
    tail = outcome.verdict["tail_loss"]
    return float("inf") if tail is None else float(tail)
