"""docs/reproductions.md: one section per part, each between two marks and replaced by itself."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "reproductions.md"
_HEAD = """# Reproductions

Generated from real runs by `make reproduce PART=...`, one section per part, text and figures
included. Numbers beyond the first few hundred steps hang on the last bit of a sum: on another
machine expect the same picture, not the same digits.
"""


def write(part: str, section: str, page: Path = PAGE) -> None:
    """Put the section of a part into the page, in place of its old one or at the end."""
    text = page.read_text() if page.exists() else _HEAD
    start, end = _marks(part)
    block = f"{start}\n{section.strip()}\n{end}\n"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}\n", re.DOTALL)
    if pattern.search(text):
        text = pattern.sub(lambda _: block, text)
    else:
        text = f"{text.rstrip()}\n\n{block}"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text)


def read(part: str, page: Path = PAGE) -> str:
    """The section of a part; empty where the page has none."""
    start, end = _marks(part)
    text = page.read_text()
    return text.partition(start)[2].partition(end)[0]


def _marks(part: str) -> tuple[str, str]:
    return f"<!-- begin {part} -->", f"<!-- end {part} -->"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def made_with(command: str, seconds: float) -> str:
    """The last lines of a section: command, machine, versions, date and duration."""
    packages = ("torch", "numpy", "optuna", "mlflow", "scikit-learn", "matplotlib")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    cores = os.cpu_count()
    return (
        f"`{command}`: {seconds / 60:.0f} min on one core of {_processor()} ({cores} cores, "
        f"shared), {date.today():%Y-%m-%d}. Python {platform.python_version()}, {versions}."
    )


def _processor() -> str:
    """The name of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()
