"""Simulated training and storage: a trajectory is a chain of hashes, so a wrong one is seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sweeper.lane.run import Run

HORIZON = 60


@lru_cache(maxsize=16384)
def true_states(config: str, seed: int) -> list[int]:
    """The state of a run at every step: state(step + 1) is a hash of state(step), config, seed."""
    states = [hash((0, seed, config_key(config)))]
    for _ in range(HORIZON + 1):
        states.append(next_state(states[-1], config, seed))
    return states


@lru_cache(maxsize=16384)
def config_key(config: str) -> int:
    return int.from_bytes(config.encode(), "little") % (2**61 - 1)


def next_state(state: int, config: str, seed: int) -> int:
    return hash((state, config_key(config), seed))


@dataclass(slots=True)
class Training:
    """A run in a slot of a lane. `first`: its first step that no part has yet."""

    run: Run
    step: int
    state: int
    first: int
    first_state: int

    def advance(self, stop: int) -> None:
        config = repr(self.run.config)
        truth = true_states(config, self.run.seed)
        if self.state == truth[self.step]:
            self.state = truth[stop]
        else:
            for _ in range(self.step, stop):
                self.state = next_state(self.state, config, self.run.seed)
        self.step = stop

    def take_piece(self) -> Piece:
        """What no part has yet."""
        piece = Piece(self.run, self.first, self.step, self.first_state, self.state)
        self.first, self.first_state = self.step, self.state
        return piece


@dataclass(frozen=True, slots=True)
class Piece:
    """Steps `first` to `stop - 1` of a run, and the states before and after them."""

    run: Run
    first: int
    stop: int
    first_state: int
    stop_state: int

    @property
    def is_true(self) -> bool:
        """Whether it belongs to the trajectory of its run."""
        truth = true_states(repr(self.run.config), self.run.seed)
        return (self.first_state, self.stop_state) == (truth[self.first], truth[self.stop])


@dataclass(slots=True)
class SimulatedStorage:
    """Row files and parts by path. A row is (step, state).

    Attributes:
        broken: row files that can't be read.
        failed: row files that a lane has tried to read in vain.
        is_down: whether nothing can be written.
    """

    rows: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict)
    parts: dict[str, dict[int, Piece]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    is_down: bool = False

    def write_rows(self, path: str, trainings: Iterable[tuple[int, int, int]]) -> None:
        self.rows[path] = {run: (step, state) for run, step, state in trainings}

    def write_part(self, path: str, pieces: Iterable[Piece]) -> None:
        self.parts[path] = {piece.run.id: piece for piece in pieces}

    def begin(self, run: Run, row_file: str | None) -> Training | None:
        """A run as a lane begins with it; None where its row can't be read."""
        step, state = 0, true_states(repr(run.config), run.seed)[0]
        if row_file is not None:
            row = None if row_file in self.broken else self.rows.get(row_file, {}).get(run.id)
            if row is None:
                self.failed.add(row_file)
                return None
            step, state = row
        return Training(run, step, state, step, state)

    def remove(self, row_file: str) -> None:
        self.rows.pop(row_file, None)


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a run.

    Attributes:
        steps: that it makes, as its verdict counts them.
        diverges: whether it turns non-finite: that step is on record, and not counted.
        poison: the step in which it kills its lane, every time.
    """

    steps: int = HORIZON
    diverges: bool = False
    poison: int | None = None

    @property
    def stop(self) -> int:
        """Steps on record at its end."""
        return self.steps + self.diverges

    @property
    def is_deadly(self) -> bool:
        """Whether it kills its lane before it ends."""
        return self.kills_before(self.stop)

    def kills_before(self, step: int) -> bool:
        return self.poison is not None and self.poison < step


def verdict(steps: int = HORIZON, state: int = 0, **changes: Any) -> dict[str, Any]:
    """The verdict of a run that went well."""
    loss = 10.0 ** -(state % 8)
    good = {
        "steps": steps, "finite": True, "hopeless": False, "failed": False, "negative": False,
        "first_loss": 1.0, "best_loss": loss, "final_loss": loss, "tail_loss": loss,
        "floor": 1e-12, "draw_up": 0.5, "give_back": 0.01, "spike_score": None,
        "upward_spike_score": None, "onset_step": None, "stable_steps": steps,
        "curve": [[0, 1.0, 1.0, 1.0, 1e-3]],
    }  # fmt: skip
    return {**good, **changes}


def diverged(steps: int) -> dict[str, Any]:
    """The verdict of a run that turned non-finite."""
    lost = {"finite": False, "failed": True, "tail_loss": None, "final_loss": None}
    return verdict(steps, **lost, onset_step=steps)
