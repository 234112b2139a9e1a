"""What the pages tell a reader to do, as they print it.

The convention of README.md and docs/*.md, by the word after the fence:

- `sh`, and text that is indented by four spaces: commands, one a line; `\\` at its end goes on.
  `a · b` are two commands, what follows ` #` is a remark.
- `python` and `yaml` whose first line is `# name.py` or `# name.yaml`: a file of that name.
- other `python`: it runs as it stands, after the blocks before it on that page.
- `python fragment`, `yaml fragment`: not whole; its syntax is checked.
- `text`, `json` and `mermaid`: to look at.

A command with arguments is one wherever it stands in backquotes, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = (
    "sweeper",
    "make",
    "git",
    "python",
    ".venv/bin/python",
    "mlflow",
    "pip",
    "cd",
    "mkdir",
    "cp",
    ".",
    "docker",
    "helm",
    "kubectl",
    "ray",
    "sbatch",
)
_WITH_FORMULAS = "reproductions.md"
SHOWN = ("text", "json", "mermaid", "csv")
_FILE = re.compile(r"# (\S+\.(?:py|ya?ml))$")
_SPAN = re.compile(r"`([^`]+)`")
_INLINE = re.compile(r"(sweeper [a-z]\S* |make |mlflow |python -m ).+")


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Args:
        kind: command, file, python or fragment.
        text: the command, or the block.
        name: of the file; of a fragment its language.
        where: page and line.
    """

    kind: str
    text: str
    name: str
    where: str


def pages() -> list[Path]:
    """README.md and every page of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def steps(page: Path) -> list[Step]:
    """What a page says to do, from its first line to its last.

    Raises:
        AssertionError: a block of a kind that the convention doesn't have.
    """
    found: list[Step] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        where = f"{page.name}:{at + 1}"
        if lines[at].startswith("```"):
            end = lines.index("```", at + 1)
            found += _block(lines[at][3:], lines[at + 1 : end], where)
            at = end
        elif lines[at].startswith("    ") and lines[at].strip() and not lines[at - 1].strip():
            end = at
            while end < len(lines) and lines[end].startswith("    "):
                end += 1
            found += _indented([line[4:] for line in lines[at:end]], where)
            at = end - 1
        else:
            spans = filter(_INLINE.fullmatch, _SPAN.findall(lines[at]))
            found += [Step("command", text, "", where) for text in spans]
        at += 1
    return found


def _block(info: str, lines: list[str], where: str) -> Iterator[Step]:
    if info == "sh":
        yield from _commands(lines, where)
    elif info in ("python fragment", "yaml fragment"):
        yield Step("fragment", "\n".join(lines), info.split()[0], where)
    elif info in ("python", "yaml"):
        text, label = "\n".join(lines) + "\n", _FILE.match(lines[0])
        assert label or info == "python", f"{where}: name the file in its first line"
        yield Step("file", text, label[1], where) if label else Step("python", text, "", where)
    else:
        assert info in SHOWN, f"{where}: no block of kind {info!r}"


def _indented(lines: list[str], where: str) -> Iterator[Step]:
    """Commands; on a page that real runs write, formulas as well."""
    if not where.startswith(_WITH_FORMULAS) or lines[0].split()[0] in PROGRAMS:
        yield from _commands(lines, where)


def _commands(lines: list[str], where: str) -> Iterator[Step]:
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        bare = re.sub(r"(^|\s)#.*", "", line).strip()
        for command in filter(None, bare.split(" · ")):
            assert command.split()[0] in PROGRAMS, f"{where}: no command {command!r}"
            yield Step("command", command.strip(), "", where)
