"""Two sweeps of the same spec, compared: trials, trajectories bit for bit, records in MLflow."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa

from sweeper.lane import trajectories
from sweeper.results.status import status
from sweeper.study.folder import Folder
from sweeper.tracking.store import Store, resolve_uri


def compare(whole: Folder, broken: Folder) -> dict[str, Any]:
    """What was lost, is there twice, or differs in `broken`; and how much was done again."""
    tables = [_curves(folder) for folder in (whole, broken)]
    expected, found = (_trials(folder) for folder in (whole, broken))
    recorded = _recorded(broken)
    steps = len(tables[0])
    differing = sum(found.get(number) != config for number, config in expected.items())
    return {
        "lost": sum(number not in found for number in expected)
        + len(set(expected) - set(recorded))
        + max(0, steps - len(_keys(tables[1]))),
        "duplicates": len(tables[1])
        - len(_keys(tables[1]))
        + sum(count - 1 for count in recorded.values()),
        "differing": {"configurations": differing, "trajectories": _differing(*tables)}
        if differing or _differing(*tables)
        else 0,
        "trials": len(found),
        "run_steps": steps,
        "repeated_steps_share": round(status(broken)["repeated_steps"] / steps, 4),
    }


def _trials(folder: Folder) -> dict[int, Any]:
    """Configuration and result of every trial that was told COMPLETE, once."""
    with closing(folder.database()) as database:
        trials = database.trials()
    told = Counter(trial.told for trial in trials)
    return {
        trial.number: (trial.config, trial.result)
        for trial in trials
        if trial.result is not None and told[trial.told] == 1
    }


def _curves(folder: Folder) -> pa.Table:
    with closing(folder.database()) as database:
        return trajectories.read(folder.storage, database.parts())


def _keys(table: pa.Table) -> np.ndarray:
    """The different (run, step) of a table."""
    keys: np.ndarray = np.unique(
        table["run"].to_numpy().astype(np.int64) << 32 | table["step"].to_numpy()
    )
    return keys


def _differing(whole: pa.Table, broken: pa.Table) -> int:
    """Runs whose trajectories are not the same, bit for bit."""
    runs = set(whole["run"].to_numpy()) | set(broken["run"].to_numpy())
    if whole.equals(broken):
        return 0
    return sum(not _of(whole, run).equals(_of(broken, run)) for run in runs)


def _of(table: pa.Table, run: int) -> pa.Table:
    chosen: pa.Table = table.filter(pa.array(table["run"].to_numpy() == run))
    return chosen


def _recorded(folder: Folder) -> Counter[int]:
    """Complete runs in MLflow by trial."""
    from sweeper.tracking import content

    store = Store(resolve_uri("sqlite", folder.path.parent))
    with closing(folder.database()) as database:
        identity = str(database.meta("id"))
    experiment = store.experiment(folder.name, lambda _: {})
    runs = store.runs(experiment, content.SWEEP_ID, identity)
    children = [run for run in runs if content.TRIAL in run.tags and run.status == "FINISHED"]
    return Counter(int(run.tags[content.TRIAL]) for run in children)
