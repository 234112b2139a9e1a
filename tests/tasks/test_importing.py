"""A user's own factory: found in the working directory; what is wrong with it is one message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sweeper
from sweeper.errors import SweepError
from sweeper.runtime.launch import resume
from sweeper.tasks.registry import TaskName

GOOD = """
import torch
from torch import nn
import sweeper

def build(width: int = 4) -> sweeper.Task:
    if width > 100:
        raise ValueError("too wide")
    return sweeper.Task(
        model=lambda: nn.Linear(2, width),
        loss=nn.functional.mse_loss,
        data=(torch.zeros(8, 2), torch.zeros(8, width)),
    )

def number() -> int:
    return 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that isn't on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_a_module_of_the_working_directory_is_found(folder: Path) -> None:
    (folder / "found_here.py").write_text(GOOD)
    assert TaskName("found_here:build", {"width": 3}).build().data[1].shape == (8, 3)


def test_the_installed_command_finds_it_too(folder: Path) -> None:
    """A console script has its own folder on the path, not the working directory."""
    (folder / "found_there.py").write_text(GOOD)
    command = Path(sys.executable).with_name("sweeper")
    done = subprocess.run(
        [command, "validate", "--task", "found_there:build", "--steps", "2"],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "12 parameters" in done.stdout and "the same losses" in done.stdout


@pytest.mark.parametrize(
    ("name", "text", "args", "says"),
    [
        ("nowhere_at_all:build", "", {}, "there is no module 'nowhere_at_all'"),
        ("bad_package.part:build", "", {}, "there is no module 'bad_package'"),
        ("bad1:build", "import torch\n1 / 0\n", {}, r"ZeroDivisionError.*\n.*bad1.py:2 in"),
        ("bad2:build", "import not_there_either", {}, "bad2 can't be imported: ModuleNotFound"),
        ("bad3:build", "def build(:\n", {}, "SyntaxError"),
        ("bad4:biuld", GOOD, {}, "no function 'biuld'.*Did you mean 'build'"),
        ("bad5:build", GOOD, {"widht": 3}, "no argument 'widht'.*Did you mean 'width'"),
        (
            "bad6:build",
            GOOD,
            {"width": 500},
            r"fails for .*500.: ValueError: too wide\n.*bad6.py:8 in build",
        ),
        ("bad7:number", GOOD, {}, "returns int; allowed: a sweeper.Task"),
        ("os:system", "", {"command": "true"}, "os is a module of Python itself"),
        ("bad-name:build", "", {}, "unknown task 'bad-name:build'"),
    ],
)
def test_what_is_wrong_is_said(
    folder: Path, name: str, text: str, args: dict[str, object], says: str
) -> None:
    (folder / f"{name.partition(':')[0]}.py").write_text(text) if text else None
    with pytest.raises(SweepError, match=f"(?s){says}"):
        TaskName(name, args).build()


def test_no_frame_of_ours_is_shown(folder: Path) -> None:
    (folder / "deep.py").write_text(
        "def f():\n    return {}['x']\n\ndef build():\n    return f()\n"
    )
    with pytest.raises(SweepError) as found:
        TaskName("deep:build", {}).build()
    lines = str(found.value).splitlines()[1:]
    assert [line.split(" in ")[1] for line in lines] == ["build: return f()", "f: return {}['x']"]


def test_a_sweep_resumed_elsewhere_says_where_its_module_is_looked_for(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "moves.py").write_text(GOOD)
    spec = {
        "name": "moves",
        "task": "moves:build",
        "horizon": 20,
        "space": {"lr": {"log_uniform": [1e-3, 1e-2]}},
        "budget": {"trials": 1},
        "stress": {"top": 0},
        "storage": str(folder / "sweeps"),
    }
    sweeper.launch(spec, local=True)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(folder)])
    monkeypatch.delitem(sys.modules, "moves")
    # A finished one is shown without its task; to go on it needs it.
    assert resume("moves", storage=str(folder / "sweeps"), local=True).finished
    with pytest.raises(SweepError, match=r"no module 'moves'.*the working directory .*elsewhere"):
        resume("moves", storage=str(folder / "sweeps"), local=True, add_trials=1)
