"""A real lane on a real study: what it saves, when it leaves, and how it treats suspects."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sweeper.lane.lane import GivenUpError, Lane
from sweeper.lane.pack import Machine
from sweeper.lane.protocol import Answer, Identity, Report
from sweeper.lane.rungs import rung_steps
from sweeper.lane.settings import LaneSettings
from sweeper.lane.storage import Storage
from sweeper.lane.timed_pack import chunk_length
from sweeper.spec import check
from sweeper.stability.limits import Limits
from sweeper.study.database import Database
from sweeper.study.study import Study
from sweeper.tasks.registry import TaskName

SPEC: dict[str, Any] = {
    "name": "one",
    "task": "perceptron",
    "horizon": 800,
    "seeds": 1,
    "space": {"lr": {"log_uniform": [1e-5, 1e-1]}},
    "search": {"sampler": "random"},
    "budget": {"trials": 4},
    "stress": {"top": 0},
}


@pytest.mark.parametrize(
    ("horizon", "wanted", "expected"),
    [
        (5000, 420, 500),  # divides the horizon
        (5000, 3, 10),
        (5000, 10**6, 5000),
        (2000, 130, 100),
        (7, 420, 7),
        (5001, 420, 420),  # nothing divides it: the last chunk is shorter
        (1237, 33, 30),
    ],
)
def test_chunks_are_whole_tens_that_divide_the_horizon_where_some_do(
    horizon: int, wanted: int, expected: int
) -> None:
    assert chunk_length(horizon, wanted, 10) == expected


class Home:
    """A study and what a lane needs."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.storage = Storage(str(folder))
        self.database = Database(folder / "study.db", create=True)
        self.spec = check({**SPEC, **changes})
        self.study = Study(self.database, self.spec)

    def lane(self, process: str, **changes: Any) -> Lane:
        settings = LaneSettings(
            task=TaskName("perceptron", {}),
            capacity=4,
            machine=Machine("cpu", "float32", compiled=False),
            limits=Limits(),
            **{"chunk_s": 0.004, "save_s": 1000.0, **changes},
        )
        return Lane(Identity(process, 0, "here"), settings, self.study, self.storage)

    def spans(self) -> dict[int, int]:
        """Flushes by run."""
        count: dict[int, int] = {}
        for part in self.database.parts():
            for span in part.spans:
                count[span.run] = count.get(span.run, 0) + 1
        return count


@pytest.fixture
def home(tmp_path: Path) -> Any:
    made = Home(tmp_path)
    with closing(made.database):
        yield made


def test_suspects_are_saved_after_every_chunk_and_others_are_not(home: Home) -> None:
    dead = Report(who=Identity("a", 0, "here"), room=2, capacity=4)
    assert len(home.study.sync(dead).grant) == 2
    home.lane("b").run()
    assert all(trial.state == "COMPLETE" for trial in home.database.trials())
    flushes = home.spans()
    assert min(flushes[0], flushes[1]) > 1
    assert flushes[2] == flushes[3] == 1
    assert all(row.deaths == 0 for row in home.database.runs())


def test_a_lane_that_leaves_saves_what_it_has_and_gives_it_up(home: Home) -> None:
    lane = home.lane("a", chunk_s=0.001)
    chunks: list[int] = []

    def on_chunk() -> None:
        chunks.append(lane.active)
        if len(chunks) == 4:
            lane.leave()

    lane.run(on_chunk)
    rows = home.database.runs()
    assert all(row.step > 0 and row.row_file is not None for row in rows)
    assert home.study.status()["lanes"] == []
    after = home.lane("b")
    after.run()
    assert all(trial.state == "COMPLETE" for trial in home.database.trials())
    assert all(row.deaths == 0 for row in home.database.runs())


def test_a_lane_that_was_replaced_ends_without_a_word(home: Home) -> None:
    old = home.lane("a")

    def on_chunk() -> None:
        home.study.sync(Report(who=Identity("b", 0, "here"), room=0, capacity=4))

    with pytest.raises(GivenUpError):
        old.run(on_chunk)
    assert home.database.parts() == []


def test_what_is_on_disk_already_is_not_saved_again(home: Home) -> None:
    lane = home.lane("a", save_s=0.0)
    reports: list[Report] = []
    sync = home.study.sync

    def listen(report: Report) -> Answer:
        reports.append(report)
        return sync(report)

    home.study.sync = listen  # type: ignore[method-assign]
    lane.run()
    steps: dict[int, list[int]] = {}
    for report in reports:
        for run, step in report.saved.items():
            steps.setdefault(run, []).append(step)
    assert steps
    assert all(found == sorted(set(found)) for found in steps.values())


@pytest.mark.parametrize("is_asked", [True, False])
def test_rungs_are_reported_where_a_pruner_asks_for_them(home: Home, is_asked: bool) -> None:
    lane = home.lane("a", save_s=0.0, report_rungs=is_asked)
    reports: list[Report] = []
    sync = home.study.sync

    def listen(report: Report) -> Answer:
        reports.append(report)
        return sync(report)

    home.study.sync = listen  # type: ignore[method-assign]
    lane.run()
    seen = {run: rungs for report in reports for run, rungs in report.rungs.items()}
    if not is_asked:
        assert not seen
        return
    results = {row.run.id: row.result for row in home.database.runs()}
    assert seen
    for run, rungs in seen.items():
        result = results[run]
        assert result is not None
        losses = {row[0]: row[1] for row in result["curve"]}
        assert [step for step, _ in rungs] == list(rung_steps(800))[: len(rungs)]
        assert all(losses[step] == loss for step, loss in rungs)
