"""Reading a spec: YAML 1.2 (1e-3 is a number), `--set key=value`, and the line of every key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from sweeper.errors import SweepError


def read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The content of a spec file and the line of every dotted key.

    Raises:
        SweepError: no such file, not YAML, a key given twice, not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SweepError(f"can't read {path}: {reason}", cure=_others(path)) from error
    return parse_text(text, str(path))


def parse_text(text: str, where: str = "spec") -> tuple[dict[str, Any], dict[str, int]]:
    """The content of a spec and the line of every dotted key."""
    loaded = _load(text, where)
    if not isinstance(loaded, CommentedMap):
        raise SweepError("the spec is not a mapping", where=where, allowed="name: ..., task: ...")
    lines: dict[str, int] = {}
    _collect_lines(loaded, "", lines)
    plain = _plain(loaded)
    assert isinstance(plain, dict)
    return plain, lines


def apply_settings(raw: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The spec with `key=value` settings put in; keys are dotted, values are YAML."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise SweepError(f"--set {setting!r}", allowed="key=value, e.g. search.sampler=random")
        value = _plain(_load(text, f"--set {key}"))
        raw = _with(raw, key.split("."), value, key)
    return raw


def _with(raw: Mapping[str, Any], keys: list[str], value: Any, dotted: str) -> dict[str, Any]:
    inner = value
    if len(keys) > 1:
        below = raw.get(keys[0], {})
        if not isinstance(below, Mapping):
            raise SweepError(f"--set {dotted}: {keys[0]!r} holds {below!r}, not a mapping")
        inner = _with(below, keys[1:], value, dotted)
    return {**raw, keys[0]: inner}


def _load(text: str, where: str) -> Any:
    try:
        return YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        problem = error.problem or error.context or "not YAML"
        raise SweepError(f"not YAML: {problem}", where=f"{where}{line}") from error
    except (YAMLError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        # The loader lets some of Python's own errors through for broken tags and numbers.
        raise SweepError(f"not YAML: {error}", where=where) from error


def _plain(value: Any) -> Any:
    """Built-in types instead of those of the YAML library; a tag is refused."""
    tag = getattr(getattr(value, "tag", None), "value", None)
    if tag is not None and not str(tag).startswith("tag:yaml.org,2002:"):
        raise SweepError(f"the tag {tag}", where="spec", allowed="plain YAML without tags")
    if isinstance(value, CommentedMap):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, CommentedSeq):
        return [_plain(inner) for inner in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _collect_lines(value: Any, prefix: str, lines: dict[str, int]) -> None:
    if isinstance(value, CommentedMap):
        for key, inner in value.items():
            dotted = f"{prefix}{key}"
            position = value.lc.data.get(key)
            if position:
                lines[dotted] = position[0] + 1
            _collect_lines(inner, f"{dotted}.", lines)


def _others(path: Path) -> str:
    found = sorted(path.parent.glob("*.yaml")) if path.parent.is_dir() else []
    return f"There are {', '.join(str(p) for p in found[:8])}." if found else ""
