"""sweeper: hyperparameter sweeps that find the settings which stay good when training runs long.

`sweeper.train` trains given configurations in packs; `sweeper.launch` runs a whole sweep.
Importing this package loads none of torch, Ray, Optuna and MLflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from sweeper.errors import SweepError
from sweeper.version import VERSION

if TYPE_CHECKING:
    from sweeper.lane.trial import Trial as Trial
    from sweeper.results.recommended import Recommendation as Recommendation
    from sweeper.results.recommended import load_recommendation as load_recommendation
    from sweeper.results.sweep import SweepHandle as SweepHandle
    from sweeper.runtime.launch import launch as launch
    from sweeper.tasks.own_loop import OwnLoop as OwnLoop
    from sweeper.tasks.task import Task as Task
    from sweeper.training import Trajectories as Trajectories
    from sweeper.training import train as train

__version__ = VERSION
__all__ = [
    "OwnLoop", "Recommendation", "SweepError", "SweepHandle", "Task", "Trajectories", "Trial",
    "launch", "load_recommendation", "train",
]  # fmt: skip

_HOMES = {
    "OwnLoop": "sweeper.tasks.own_loop",
    "Recommendation": "sweeper.results.recommended",
    "SweepHandle": "sweeper.results.sweep",
    "launch": "sweeper.runtime.launch",
    "load_recommendation": "sweeper.results.recommended",
    "Task": "sweeper.tasks.task",
    "Trajectories": "sweeper.training",
    "Trial": "sweeper.lane.trial",
    "train": "sweeper.training",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'sweeper' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
