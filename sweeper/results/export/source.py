"""Reads the pieces of exported texts and puts a script together."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

_OURS = "sweeper"
_PIECES = "sweeper.results.export.pieces"


@dataclass
class Script:
    """A Python script in the making.

    Args:
        comment: lines at its top, without `#`.
        imports: its import lines.
        blocks: what follows, each a top-level definition or assignment.
    """

    comment: list[str]
    imports: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)

    def add_pieces(self, module: str, *names: str) -> None:
        """Copy functions and classes of a module of the pieces, with its imports."""
        self.imports += _imports(module)
        self.blocks += [_definitions(module)[name] for name in names]

    def text(self) -> str:
        """The whole script."""
        comment = "\n".join(f"# {line}".rstrip() for line in self.comment)
        own = sorted(set(self.imports), key=lambda line: (_package(line) not in _STANDARD, line))
        imports = "\n".join(["from __future__ import annotations", "", *own])
        return "\n\n\n".join([f"{comment}\n\n{imports}", *self.blocks]) + "\n"


# Standard modules that pieces import: they come first.
_STANDARD = {"collections", "fnmatch", "math", "typing"}


def parameters(module: str, name: str) -> list[str]:
    """Names of the parameters of a function of the pieces."""
    node = next(n for n in _tree(module).body if getattr(n, "name", None) == name)
    assert isinstance(node, ast.FunctionDef)
    return [argument.arg for argument in node.args.args]


def call(function: str, arguments: dict[str, str], *, indent: int = 4) -> str:
    """A call with named arguments, one a line where it is long."""
    given = [f"{name}={value}" for name, value in arguments.items()]
    short = f"{function}({', '.join(given)})"
    if len(short) + indent <= 88:
        return short
    inner = "".join(f"{' ' * (indent + 4)}{one},\n" for one in given)
    return f"{function}(\n{inner}{' ' * indent})"


def _package(line: str) -> str:
    return line.split()[1].partition(".")[0]


@cache
def _text(module: str) -> str:
    return resources.files(_PIECES).joinpath(f"{module}.py").read_text(encoding="utf-8")


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_text(module))


def _imports(module: str) -> list[str]:
    found = [n for n in _tree(module).body if isinstance(n, ast.Import | ast.ImportFrom)]
    lines = [ast.unparse(node) for node in found]
    return [line for line in lines if _package(line) not in ("__future__", _OURS)]


@cache
def _definitions(module: str) -> dict[str, str]:
    """Source of every function and class of a module."""
    lines = _text(module).splitlines()
    found = {}
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            found[node.name] = "\n".join(lines[first - 1 : node.end_lineno])
    return found
