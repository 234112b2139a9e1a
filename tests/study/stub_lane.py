"""Lanes that hold runs without training them, and homes for studies: for tests, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulated_storage import verdict

from sweeper.lane.protocol import Answer, Identity, Report
from sweeper.lane.trajectories import Part, Span
from sweeper.spec import SweepSpec, check
from sweeper.study.database import Database
from sweeper.study.leases import Death
from sweeper.study.study import Study

HORIZON = 100
RAW: dict[str, Any] = {
    "name": "simulated",
    "task": "perceptron",
    "horizon": HORIZON,
    "seeds": 2,
    "baseline": {"lr": 1e-3},
    "space": {
        "lr": {"log_uniform": [1e-5, 1e-1]},
        "schedule": {"choice": {"constant": {}, "cosine": {"final": {"uniform": [0.0, 1.0]}}}},
    },
    "search": {"sampler": "random"},
    "budget": {"trials": 12},
    "stress": {"top": 0},
}


def spec_with(**changes: Any) -> SweepSpec:
    return check({**RAW, **changes})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Home:
    """A database, studies on it one after another, and the lanes that they have.

    Attributes:
        words: last words of processes; None for one whose node is gone.
    """

    def __init__(self, path: Path, spec: SweepSpec) -> None:
        self.path, self.spec, self.clock = path / "study.db", spec, Clock()
        self.rows: dict[str, dict[int, int]] = {}  # step by run, by row file
        self.words: dict[str, str | None] = {}
        Database(self.path, create=True).close()

    def study(self, hold_back_s: float = 0.0, database: Database | None = None) -> Study:
        return Study(
            database or Database(self.path),
            self.spec,
            hold_back_s=hold_back_s,
            clock=self.clock,
            explain=self.explain,
        )

    def explain(self, death: Death) -> str | None:
        return self.words.get(death.who.process, "Fatal Python error")

    def database(self) -> Database:
        return Database(self.path)

    def lane(self, process: str, lane: int = 0, **constants: Any) -> StubLane:
        """A new lane process; `constants` are in all of its reports."""
        return StubLane(self, process, lane, constants)

    def deaths(self) -> dict[int, int]:
        """Deaths by run, of those that have any."""
        return {row.run.id: row.deaths for row in self.database().runs() if row.deaths}


class StubLane:
    """A lane process. Its reports continue where the last one ended."""

    def __init__(self, home: Home, process: str, lane: int, constants: dict[str, Any]) -> None:
        self.home, self.constants = home, constants
        self.who = Identity(process, lane, "host")
        self.held: dict[int, int] = {}  # step by run
        self.written: dict[int, int] = {}  # steps that were reported
        self.last: Report | None = None
        self._number = 0

    def sync(self, study: Study, room: int = 0, **report: Any) -> Answer:
        """Report, and take over what is granted. Keywords are fields of the report."""
        self._number += 1
        fields = {"held": dict(self.held), "number": self._number, **self.constants, **report}
        self.last = Report(who=self.who, room=room, **fields)
        return self.take(study.sync(self.last))

    def repeat(self, study: Study) -> Answer:
        """Report the same once more."""
        assert self.last is not None
        return self.take(study.sync(self.last))

    def take(self, answer: Answer) -> Answer:
        for run in answer.drop:
            self.held.pop(run, None)
        for grant in answer.grant:
            row = self.home.rows[grant.row_file] if grant.row_file else {}
            step = row.get(grant.run.id, 0)
            self.held[grant.run.id] = self.written[grant.run.id] = step
        return answer

    def granted(self, study: Study, room: int = 0, **report: Any) -> list[int]:
        """Report; the runs that are granted."""
        return [grant.run.id for grant in self.sync(study, room, **report).grant]

    def save(self, study: Study, steps: dict[int, int], room: int = 0, **report: Any) -> Answer:
        """Train runs up to these steps, and report their rows."""
        row_file = f"rows/{self.who.process}-{self._number + 1}"
        self.home.rows[row_file] = dict(steps)
        self.held |= steps
        spans = self._spans(steps)
        return self.sync(
            study, room, saved=steps, row_file=row_file, part=Part(row_file, spans), **report
        )

    def finish(self, study: Study, *runs: int, room: int = 0, **results: dict[str, Any]) -> Answer:
        """Train runs to their end, and report that. `r3=...` is the result of run 3."""
        done = {run: results.get(f"r{run}", verdict(HORIZON)) for run in runs}
        spans = self._spans({run: int(result["steps"]) for run, result in done.items()})
        for run in runs:
            self.held.pop(run, None)
        name = f"{self.who.process}-{self._number + 1}.parquet"
        return self.sync(study, room, done=done, part=Part(name, spans) if spans else None)

    def _spans(self, steps: dict[int, int]) -> tuple[Span, ...]:
        first = {run: self.written.get(run, 0) for run in steps}
        self.written |= steps
        return tuple(Span(r, first[r], step) for r, step in steps.items() if step > first[r])


def finish_all(study: Study, lane: StubLane) -> None:
    """Train one lane to the end of the sweep."""
    lane.sync(study, room=8)
    for _ in range(500):
        if study.finished:
            return
        lane.finish(study, *list(lane.held)[:3], room=3)
    raise AssertionError("the sweep does not end")
