"""The documentation tells the truth: generated pages are current, commands and files exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from sweeper.cli import cli

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", ["spec", "optimizers", "metrics", "commands"])
def test_generated_pages_are_current(page: str) -> None:
    path = ROOT / "docs" / f"generate_{page}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / f"{page}.md").read_text() == module.reference(), (
        f"run .venv/bin/python docs/generate_{page}.py"
    )


def test_every_command_in_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"(?:^    |· )sweeper (\w[\w-]*)", text, flags=re.MULTILINE))
    assert named
    assert named <= set(cli.commands)
    assert set(cli.commands) <= named


def test_every_link_of_the_documentation_resolves() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_search_space_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    listed = re.findall(r"^\| `(\w+\.yaml)` \|", index, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "search_spaces").iterdir())


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    linked = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", index)}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= linked | {"README.md"}


def test_every_make_target_named_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"make (\w+)", (ROOT / "README.md").read_text())) <= targets | {"and"}
