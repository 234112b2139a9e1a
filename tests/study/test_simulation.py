"""Seeded simulations of whole sweeps: see simulation.py, witness.py and audit.py.

SWEEPER_SCHEDULES sets how many schedules of faults are run, SWEEPER_SEED the first one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from simulated_spec import Size
from simulation import Simulation

SCHEDULES = int(os.environ.get("SWEEPER_SCHEDULES", "2000"))
FIRST = int(os.environ.get("SWEEPER_SEED", "0"))
PARTS = 8


def run_all(seeds: range, make: Callable[[int], Simulation]) -> list[Simulation]:
    """Run one simulation per seed; what breaks says which one it was."""
    done: list[Simulation] = []
    for seed in seeds:
        try:
            done.append(make(seed).run())
        except Exception as error:
            error.add_note(f"found by Simulation(seed={seed})")
            raise
    return done


@pytest.mark.timeout(0)
@pytest.mark.parametrize("part", range(PARTS))
def test_any_schedule_of_faults(part: int) -> None:
    share = -(-SCHEDULES // PARTS)
    first = FIRST + part * share
    done = run_all(range(first, first + share), lambda seed: Simulation(seed=seed))
    if share >= 100:  # else chance may have left one of them out
        assert any(simulation.launch > 1 for simulation in done)
        assert any(trial.state == "FAIL" for one in done for trial in one.witness.trials.values())
        # Luck that is so bad that a good run is given up must be rare.
        assert sum(simulation.witness.unlucky for simulation in done) < len(done) / 20


def test_without_faults_every_trial_is_complete() -> None:
    for simulation in run_all(range(20), lambda seed: Simulation(seed=seed, faulty=False)):
        states = {trial.state for trial in simulation.witness.trials.values()}
        assert states == {"COMPLETE"}
        assert not simulation.witness.tainted


def test_studies_that_open_the_database_anew(tmp_path: Path) -> None:
    def make(seed: int) -> Simulation:
        return Simulation(seed=seed, path=tmp_path / f"{seed}.db")

    run_all(range(20), make)


def test_a_thousand_lanes(tmp_path: Path) -> None:
    """Many of them hang or die; the database is a file, as that of a sweep is."""
    size = Size(trials=1200, seeds=1, lanes=1000, capacity=1)
    world = Simulation(seed=3, size=size, path=tmp_path / "study.db")
    (done,) = run_all(range(1), lambda _: world)
    assert len(done.witness.told) == done.spec.budget.trials >= 1200
    assert {"killed", "silent"} <= set(done.causes.values())
