"""A real sweep that prunes by the median of the losses, from launch to MLflow."""

from __future__ import annotations

import json
from pathlib import Path

from live_sweeps import database, mlflow_children, run, write_spec

from sweeper.lane.rungs import rung_steps
from sweeper.results.status import status
from sweeper.study.database import COMPLETE, PRUNED
from sweeper.study.folder import Folder

TRIALS, HORIZON = 16, 8000


def test_a_sweep_that_prunes(tmp_path: Path) -> None:
    spec = write_spec(
        tmp_path,
        horizon=HORIZON,
        budget={"trials": TRIALS},
        space={
            "lr": {"log_uniform": [1e-5, 1e-2]},
            "eps": {"log_uniform": [1e-4, 1.0]},
            "schedule": {"kind": "cosine"},
        },
        prune={"pruner": "median", "n_startup_trials": 3},
        lanes={"slots": 6},
    )
    done = run("launch", spec, "--local")
    assert done.returncode == 0, done.stderr
    trials = database(tmp_path).trials()
    pruned = [trial.number for trial in trials if trial.state == PRUNED]
    assert 1 <= len(pruned) <= TRIALS - 4
    assert all(trial.state in (COMPLETE, PRUNED) for trial in trials)
    assert trials[0].state == COMPLETE
    assert sorted(trial.told or 0 for trial in trials) == list(range(1, TRIALS + 1))
    for number in pruned:
        known = trials[number].rungs or []
        assert known and {step for step, _ in known} <= set(rung_steps(HORIZON))
        runs = database(tmp_path).runs([number])
        assert all(row.step > known[-1][0] for row in runs)
        assert any(row.step < HORIZON for row in runs)

    best = run("best", "small", "--storage", tmp_path, "--format", "json", "--top", "99")
    ranked = [row["trial"] for row in json.loads(best.stdout)]
    assert sorted(ranked) == [n for n in range(TRIALS) if n not in pruned]
    found = status(Folder(tmp_path / "small"))
    assert (found["told"], found["pruned"], found["failed"]) == (TRIALS, len(pruned), 0)
    assert found["errors"] == {}
    shown = run("status", "small", "--storage", tmp_path)
    assert f"{len(pruned)} of them pruned" in " ".join(shown.stdout.split())

    children = {int(one.data.tags["sweeper.trial"]): one for one in mlflow_children(tmp_path)}
    assert len(children) == TRIALS
    for number, child in children.items():
        reason = child.data.tags.get("sweeper.pruned")
        assert reason == (trials[number].error if number in pruned else None)
        assert child.info.status == ("KILLED" if number in pruned else "FINISHED")
