"""Whatever the pages tell a reader to do works: every command, file and block of Python.

How they are read says pages.py, how they are run clone.py. docs/tutorial.md is followed to the
letter by test_tutorial.py.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from clone import Clone
from pages import ROOT, Step, pages, steps
from ruamel.yaml import YAML

import sweeper
from sweeper.cli import cli

NOT_RUN = {
    "git clone *": "this is the clone",
    "make sweep": "it installs everything anew; then it runs what the fixture runs",
    "make setup": "it installs everything anew",
    "make test": "it runs this test",
    "make check": "it installs everything anew; it is run beside the tests",
    "make ui": "it installs everything anew; `sweeper ui` is run",
    "make bench": "minutes; tests/test_benchmark_tasks.py has its parts",
    "make reproduce *": "half an hour; tests/test_reproductions.py has its parts",
    "sweeper * --address *": "it needs a cluster; tests/runtime/test_jobs.py starts one",
    "sweeper * --storage /shared/sweeps": "it needs Slurm",
    "python -m venv /shared/venv": "it installs everything anew",
    ". /shared/venv/bin/activate": "it installs everything anew",
    "pip install -c constraints.txt *": "it installs everything anew",
    "cp cluster/env.example *": "it needs Docker",
    "docker *": "it needs Docker; tests/cluster has the files looked at",
    "helm *": "it needs Kubernetes",
    "kubectl *": "it needs Kubernetes; tests/cluster has the files looked at",
    "ray *": "it needs machines; tests/cluster has the command lines looked at",
    "sbatch *": "it needs Slurm; tests/cluster/test_slurm.py has stand-ins",
    "python -m benchmarks.*": "minutes; tests/test_benchmark_tasks.py has its parts",
}
PAGES = [page for page in pages() if page.name != "tutorial.md"]


def reason_not_to_run(step: Step) -> str | None:
    """The pattern of NOT_RUN that has a command."""
    return next((pattern for pattern in NOT_RUN if fnmatch(step.text, pattern)), None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    found = Clone(tmp_path_factory.mktemp("clone"))
    yield found
    found.end()


@pytest.fixture
def clone(made: Clone, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clone]:
    """The clone, with the finished sweeps that pages speak of, as the working directory.

    Nothing is compiled, which would be most of the time; tests/docs/test_tutorial.py compiles.
    """
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    monkeypatch.chdir(made.folder)
    monkeypatch.syspath_prepend(made.folder)
    recipe = re.search(r"^sweep: .*\n\t\$\(BIN\)/(.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert recipe
    made.run(Step("command", recipe[1], "", "Makefile"))
    made.run(Step("command", "sweeper launch search_spaces/digits.yaml", "", "README.md"))
    yield made
    made.end_page()


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:TORCH_COMPILE_DISABLE")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_works(clone: Clone, page: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for step in steps(page):
        if step.kind == "file":
            clone.write(Path(step.name), step.text)
        elif step.kind == "python":
            exec(compile(clone.here(step.text), step.where, "exec"), names)
        elif step.kind == "command" and not reason_not_to_run(step):
            clone.run(step)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_fragments_are_right_as_far_as_they_go(page: Path) -> None:
    for step in steps(page):
        if step.kind != "fragment":
            continue
        if step.name == "yaml":
            YAML().load(step.text)
            continue
        for node in ast.walk(ast.parse(step.text, step.where)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                check_name(node.value.id, node.attr, step.where)


def check_name(owner: str, name: str, where: str) -> None:
    """A name that a fragment takes from sweeper or from a trial exists."""
    if owner == "sweeper":
        assert hasattr(sweeper, name), f"{where}: sweeper.{name}"
    if owner == "trial":
        given = inspect.signature(sweeper.Trial).parameters
        assert hasattr(sweeper.Trial, name) or name in given, f"{where}: trial.{name}"


def test_what_is_not_run_stands_in_the_pages() -> None:
    every = [step for page in pages() for step in steps(page) if step.kind == "command"]
    assert len(every) > 30
    assert {reason_not_to_run(step) for step in every} - {None} == set(NOT_RUN)


def test_every_command_that_is_named_exists() -> None:
    for page in pages():
        for name in re.findall(r"`sweeper ([a-z][\w-]*)", page.read_text(encoding="utf-8")):
            assert name in cli.commands, f"{page.name}: sweeper {name}"
