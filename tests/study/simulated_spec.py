"""The sweeps of simulations: how large they are, and their specs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from simulated_storage import HORIZON

from sweeper.spec import SweepSpec, check


@dataclass(frozen=True, slots=True)
class Size:
    """How large a sweep is: trials, seeds of each, lanes, slots of each."""

    trials: int
    seeds: int
    lanes: int
    capacity: int


@lru_cache
def make_spec(sampler: str, seed: int, size: Size, more: str = "") -> SweepSpec:
    """A spec; `more` is a further budget, such as `time 40`."""
    name, _, value = more.partition(" ")
    raw: dict[str, Any] = {
        "name": "simulated",
        "task": "perceptron",
        "horizon": HORIZON,
        "seeds": size.seeds,
        "baseline": {"lr": 1e-3},
        "space": {
            "lr": {"log_uniform": [1e-5, 1e-1]},
            "schedule": {"choice": {"constant": {}, "cosine": {"final": {"uniform": [0.0, 1.0]}}}},
        },
        "search": {"sampler": sampler, "seed": seed},
        "stress": {"top": 0},
        "budget": {"trials": size.trials, **({name: int(value)} if name else {})},
    }
    return check(raw)
