"""A storage that is away or slow: nothing is lost, and the lane isn't taken for dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import SweepError
from sweeper.lane import exchange
from sweeper.lane.lane import Lane
from sweeper.lane.pack import Machine
from sweeper.lane.protocol import Answer, Identity, Report
from sweeper.lane.settings import LaneSettings
from sweeper.lane.storage import AwayError, Storage
from sweeper.spec import check
from sweeper.stability.limits import Limits
from sweeper.study.database import Database
from sweeper.study.study import Study
from sweeper.tasks.registry import TaskName


class Unsteady(Storage):
    """A folder that can be away for reading, and slow for writing."""

    away = 0
    reads = 0
    gate = threading.Event()

    def read(self, path: str) -> bytes:
        type(self).reads += 1
        if type(self).away > 0:
            type(self).away -= 1
            raise AwayError(5, "nobody answers")
        return Storage.read(self, path)

    def write(self, path: str, data: bytes) -> None:
        if path.startswith("rows/"):
            assert type(self).gate.wait(60)
        Storage.write(self, path, data)


class Heard:
    """A study that keeps what it was told."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self.reports: list[Report] = []

    def sync(self, report: Report) -> Answer:
        self.reports.append(report)
        return self._study.sync(report)


class Home:
    """A study and its lanes."""

    def __init__(self, folder: Path) -> None:
        Unsteady.away = Unsteady.reads = 0
        Unsteady.gate = threading.Event()
        Unsteady.gate.set()
        self.database = Database(folder / "study.db", create=True)
        spec = check(
            {
                "name": "one",
                "task": "perceptron",
                "horizon": 800,
                "seeds": 1,
                "space": {"lr": {"log_uniform": [1e-5, 1e-1]}},
                "search": {"sampler": "random"},
                "budget": {"trials": 4},
                "stress": {"top": 0},
            }
        )
        self.study = Heard(Study(self.database, spec))
        self.storage = Unsteady(str(folder))

    def lane(self, process: str, **changes: Any) -> Lane:
        settings = LaneSettings(
            task=TaskName("perceptron", {}),
            capacity=4,
            machine=Machine("cpu", "float32", compiled=False),
            limits=Limits(),
            **{"chunk_s": 0.001, "save_s": 1000.0, **changes},
        )
        return Lane(Identity(process, 0, "here"), settings, self.study, self.storage)

    def saved(self) -> None:
        """Let a lane leave with all four runs half-way."""
        lane = self.lane("a")
        chunks = iter(range(1000))

        def on_chunk() -> None:
            if next(chunks) == 3:
                lane.leave()

        lane.run(on_chunk)
        assert all(row.row_file for row in self.database.runs())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    with closing(made.database):
        yield made


def test_runs_wait_for_rows_that_are_away_and_go_on_from_them(home: Home) -> None:
    home.saved()
    Unsteady.away, Unsteady.reads = 2, 0
    home.study.reports.clear()
    home.lane("b").run()
    assert all(trial.state == "COMPLETE" for trial in home.database.trials())
    assert not any(report.lost for report in home.study.reports)
    said = [report.trouble for report in home.study.reports if report.trouble]
    assert said
    assert set(said) == {"can't read: nobody answers"}
    # Once for all four, which were saved together.
    assert Unsteady.reads == 3
    # No step was made twice: what was on disk counts.
    spans = [span for part in home.database.parts() for span in part.spans]
    assert sum(span.stop - span.first for span in spans) == 4 * 800


def test_rows_that_are_away_for_too_long_end_the_lane(home: Home) -> None:
    home.saved()
    Unsteady.away = 10**6
    with pytest.raises(SweepError, match=r"can't read .*nobody answers.*sweeper resume"):
        home.lane("b", patience_s=0.3).run()


def test_a_slow_write_is_no_silence(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_SLOW_S", 0.05)
    lane = home.lane("a", save_s=0.0)

    def open_later() -> None:
        slow = "can't write: it takes very long"
        while sum(report.trouble == slow for report in home.study.reports) < 3:
            time.sleep(0.01)
        Unsteady.gate.set()

    Unsteady.gate.clear()
    opener = threading.Thread(target=open_later, daemon=True)
    opener.start()
    lane.run()
    opener.join(10)
    assert not opener.is_alive()
    slow = [r for r in home.study.reports if r.trouble]
    assert all(len(r.held) == 4 and not r.saved and not r.leaving for r in slow)
    assert all(trial.state == "COMPLETE" for trial in home.database.trials())


def test_a_write_that_hangs_ends_the_lane(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_SLOW_S", 0.05)
    lane = home.lane("a", save_s=0.0, patience_s=0.3)
    Unsteady.gate.clear()
    with pytest.raises(SweepError, match=r"can't write to .*takes very long"):
        lane.run()
    Unsteady.gate.set()
