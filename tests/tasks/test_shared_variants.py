"""Variants of a task: a factory may read a large data set, so it runs once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import sweeper
from sweeper.optim.variant import Variant
from sweeper.tasks.registry import TaskName
from sweeper.tasks.variants import forget, shared

COUNTED = """
from pathlib import Path
from sweeper.tasks.bundled import digits

def build(hidden=4):
    with (Path(__file__).parent / "calls").open("a") as file:
        file.write(f"{hidden}\\n")
    return digits.build(hidden=hidden)
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the factory `counted:build` notes that it was called."""
    (tmp_path / "counted.py").write_text(COUNTED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "counted", raising=False)
    forget()
    return tmp_path / "calls"


def test_a_name_has_the_same_variants_until_they_are_forgotten(calls: Path) -> None:
    name = TaskName("counted:build", {"hidden": 8})
    task = shared(name).of()
    larger = shared(TaskName("counted:build", {"hidden": 8})).of(Variant(batch_size=32))
    assert larger.data[0] is task.data[0] and larger.batch_size == 32
    assert calls.read_text().split() == ["8"]
    assert shared(TaskName("counted:build", {"hidden": 9})).of() is not task
    assert shared(name).of() is not task  # another name came between
    forget()
    shared(name).of()
    assert calls.read_text().split() == ["8", "9", "8", "8"]


def test_a_launch_calls_the_factory_once_for_each_of_its_arguments(calls: Path) -> None:
    spec = {
        "name": "counted",
        "task": "counted:build",
        "horizon": {"epochs": 1},
        "space": {
            "lr": {"log_uniform": [1e-3, 1e-2]},
            "task_args": {"hidden": {"choice": [4, 6]}},
            "batch_size": {"choice": [32, 64]},
        },
        "budget": {"trials": 6},
        "stress": {"top": 0},
        "lanes": {"slots": 2},
        "storage": "sweeps",
    }
    assert len(sweeper.launch(spec, local=True).ranking()) == 6
    assert sorted(calls.read_text().split()) == ["4", "6"]
