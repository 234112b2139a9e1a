"""The images: linted, and installed from exactly the files that they copy. They aren't built."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from manifests import CLUSTER, ROOT

FILES = sorted((CLUSTER / "images").glob("Dockerfile.*"))


def lint(text: str) -> subprocess.CompletedProcess[str]:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint
    return subprocess.run([hadolint, "-"], input=text, capture_output=True, text=True)


def copied(path: Path) -> list[str]:
    """What an image takes from the build context."""
    lines = re.findall(r"^COPY (.+) \S+$", path.read_text(), re.MULTILINE)
    return [name for line in lines for name in line.split()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    done = lint(path.read_text())
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_say_it() -> None:
    done = lint(FILES[0].read_text().replace("python:3.11-slim-bookworm", "python:latest"))
    assert done.returncode == 1
    assert "DL3007" in done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_runs_as_a_user_with_pinned_packages(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["1000"]
    assert re.findall(r"^FROM (.+)$", text, re.MULTILINE) == ["python:3.11-slim-bookworm"]
    installs = re.findall(r"pip install [^\n]*(?:\\\n[^\n]*)?", text)
    assert len(installs) == 2
    assert all("-c constraints.txt" in line for line in installs)


def test_the_build_context_has_what_is_copied_and_no_more() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in rules
    let_in = {line[1:] for line in rules if line.startswith("!")}
    for path in FILES:
        assert set(copied(path)) == let_in


def test_the_copied_files_are_enough_to_install(tmp_path: Path) -> None:
    for name in copied(FILES[0]):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--quiet", "--wheel-dir", "wheels", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    [wheel] = (tmp_path / "wheels").iterdir()
    with zipfile.ZipFile(wheel) as found:
        names = found.namelist()
    assert "sweeper/optim/native/adam.cpp" in names
    assert "sweeper/tasks/bundled/digits.npz" in names
