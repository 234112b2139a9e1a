"""docs/tutorial.md, followed to the letter: what it prints is what a shell gets, from the folder
`mine` on. Only the installation is left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, steps

LEFT_OUT = (
    "git clone … && cd sweeper",
    "make setup",
    ". .venv/bin/activate",
    "mkdir mine && cd mine",
)
SHELL_TIME_S = 240


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of an activated .venv: `sweeper` and `python` are those of this test."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, arguments in (("sweeper", "-m sweeper.cli "), ("python", "")):
        program = bin_folder / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments}"$@"\n')
        program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "160",
    }


@pytest.mark.timeout(600)
def test_the_tutorial_works_as_printed(tmp_path: Path, shell: dict[str, str]) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    left_out, said = [], {}
    for step in steps(ROOT / "docs" / "tutorial.md"):
        assert step.kind in ("file", "command"), f"{step.where}: blocks that nobody runs"
        if step.kind == "file":
            (mine / step.name).write_text(step.text, encoding="utf-8")
        elif step.text in LEFT_OUT:
            left_out.append(step.text)
        else:
            done = subprocess.run(
                ["bash", "-euc", step.text],
                cwd=mine,
                env=shell,
                capture_output=True,
                text=True,
                timeout=SHELL_TIME_S,
                check=False,
            )
            assert done.returncode == 0, f"{step.where}: {step.text}\n{done.stdout}{done.stderr}"
            said[step.text] = done.stdout
    assert tuple(left_out) == LEFT_OUT
    # What the page says of the results is so on this machine, whatever the digits.
    assert "Recommended: trial" in said["sweeper launch head.yaml"]
    assert (
        "fresh seeds within 6,000 steps: it climbed"
        in said["sweeper export head --trial 0 --format json"]
    )
    assert (mine / "sweeps/head/report/report.html").exists()
    assert (mine / "baseline.csv").read_text().count("\n") > 3000
    before, recommended = map(float, re.findall(r": +(\S+)", said["python train.py"]))
    assert recommended < 1e-10 < 1e-6 < before
