"""The driver's care for the tracking process: started again, waited for, given up in the end."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tracked_sweep as ts
from rich.console import Console

from sweeper.runtime import recorder as recorder_module
from sweeper.runtime.recorder import Recorder
from sweeper.study.folder import Folder
from sweeper.tracking import process

pytestmark = [
    # MLflow's tables use what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return ts.finished(tmp_path_factory)


@pytest.fixture
def folder(finished: Folder, tmp_path: Path) -> Folder:
    return ts.copy(finished, tmp_path / "sweeps")


def test_a_process_that_is_killed_again_and_again_is_waited_for(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_FIRST_DELAY_S", 0.01)
    said = io.StringIO()
    recorder = Recorder(folder, Console(file=said))
    killed: set[int] = set()
    while len(killed) < 9:
        killed.add(recorder._process.pid)
        recorder._process.kill()
        recorder._process.wait()
        while recorder._process.pid in killed:
            assert recorder.keep_alive()
    # However long the delay has become: the end of a sweep waits for what is missing.
    monkeypatch.setattr(recorder_module, "_STALLED_S", 30.0)
    recorder._process.kill()
    recorder.await_end(patient=True)
    assert said.getvalue() == ""
    assert ts.progress(folder)["ended"]
    assert ts.progress(folder)["recorded"] == ts.TRIALS


def test_a_process_that_always_dies_is_given_up_at_the_end(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_FIRST_DELAY_S", 0.01)
    started: list[Any] = []

    def dies(path: Path, log: Path) -> subprocess.Popen[bytes]:
        del path, log
        started.append(subprocess.Popen([sys.executable, "-c", "import os; os._exit(9)"]))
        return started[-1]

    monkeypatch.setattr(process, "start", dies)
    said = io.StringIO()
    recorder = Recorder(folder, Console(file=said, width=200))
    for _ in range(3):
        started[-1].wait()
        assert recorder.keep_alive()
    recorder.await_end(patient=True)
    assert "MLflow has 0 of 0 trials; `sweeper resume" in said.getvalue()
    assert len(started) < 12
