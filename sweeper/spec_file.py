"""Spec files: YAML 1.2 (1e-3 is a number), `--set key=value`, and the line of every key."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from sweeper.errors import SweepError, shown

_DEEPEST = 20
_READ_LEVELS = 2 * _DEEPEST  # sweep.yaml holds a whole spec in a key


def read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The content of a spec file and the line of every dotted key.

    Raises:
        SweepError: no such file, not YAML, a key given twice, not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, UnicodeDecodeError):
            reason = "it is not UTF-8 text"
        raise SweepError(f"can't read {path}: {reason}", cure=_others(path)) from error
    return parse_text(text, str(path))


def dump(content: Mapping[str, Any]) -> str:
    """Plain values as YAML, keys in their order."""
    stream = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(dict(content), stream)
    return stream.getvalue()


def parse_text(text: str, where: str = "spec") -> tuple[dict[str, Any], dict[str, int]]:
    """The content of a spec and the line of every dotted key."""
    content, lines = _parsed(text, where)
    return deepcopy(content), dict(lines)


@lru_cache(maxsize=4)
def _parsed(text: str, where: str) -> tuple[dict[str, Any], dict[str, int]]:
    """A launch asks for the same text some twenty times, and parsing takes 0.05 s."""
    loaded = _load(text, where)
    if not isinstance(loaded, CommentedMap):
        raise SweepError("the spec is not a mapping", where=where, allowed="name: ..., task: ...")
    lines: dict[str, int] = {}
    _lines_of(loaded, "", lines)
    try:
        content: dict[str, Any] = plain(loaded, levels=_READ_LEVELS)
    except SweepError as error:
        raise located(error, error.where, where, places_of(lines, where)) from error
    return content, lines


def places_of(lines: Mapping[str, int], source: str) -> dict[str, str]:
    """Where each dotted key stands, in words."""
    return {key: f"{source}, line {line}" for key, line in lines.items()}


def located(error: SweepError, key: str, source: str, places: Mapping[str, str]) -> SweepError:
    """The mistake with its place: that of `key`, of a key around it, or else the source."""
    while key and key not in places:
        key = key[: max(0, key.rfind("."), key.rfind("["))]
    place = places.get(key, source)
    where = f"{place}: {error.where}" if error.where else place
    return SweepError(error.what, where=where, allowed=error.allowed, cure=error.cure)


def apply_settings(raw: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The spec with `key=value` settings put in; keys are dotted, values are YAML."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise SweepError(f"--set {setting!r}", allowed="key=value, e.g. search.sampler=random")
        value = plain(_load(text, f"--set {key}"), f"--set {key}")
        raw = _with(raw, key.split("."), value, key)
    return raw


def plain(value: Any, where: str = "", levels: int = _DEEPEST) -> Any:
    """A copy in built-in types (None, bool, int, float, str, list, dict with text as keys).

    Raises:
        SweepError: anything else, such as a tag, a date or NaN; nesting without end.
    """
    tag = getattr(getattr(value, "tag", None), "value", None)
    if tag is not None:
        raise SweepError(f"the tag {tag}", where=where, allowed="plain YAML without tags")
    if levels < 0:
        raise SweepError("nested too deeply", where=where, allowed=f"{_DEEPEST} levels")
    if isinstance(value, Mapping):
        return {
            _key(key, where): plain(inner, f"{where}.{key}" if where else key, levels - 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(inner, f"{where}[{i}]", levels - 1) for i, inner in enumerate(value)]
    return _scalar(value, where)


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise SweepError(
            f"the key {shown(key)} is not text", where=where, cure="Put it in quotes."
        )
    return str(_scalar(key, where))


def _scalar(value: object, where: str) -> bool | int | float | str | None:
    if value is None or isinstance(value, bool | ScalarBoolean):
        return None if value is None else bool(value)
    if isinstance(value, int):
        if abs(value) > sys.float_info.max:
            raise SweepError(f"{shown(value)} is out of range", where=where, allowed="numbers")
        return int(value)
    if isinstance(value, float):
        if math.isnan(value):
            raise SweepError("nan is not a number", where=where, allowed="numbers")
        return float(value)
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value):
            raise SweepError(f"{shown(value)} is not text", where=where, allowed="Unicode text")
        return str(value)
    raise SweepError(
        f"{shown(value)} is a {type(value).__name__}",
        where=where,
        allowed="text, numbers, true, false, null, lists and mappings",
        cure="Put it in quotes if it is text.",
    )


def _with(raw: Mapping[str, Any], keys: list[str], value: Any, dotted: str) -> dict[str, Any]:
    inner = value
    if len(keys) > 1:
        below = raw.get(keys[0])
        if not isinstance(below, Mapping | None):
            raise SweepError(
                f"--set {dotted}: {keys[0]!r} holds {shown(below)}", allowed="keys of mappings"
            )
        inner = _with(below or {}, keys[1:], value, dotted)
    return {**raw, keys[0]: inner}


def _load(text: str, where: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an anchor used twice, a number of YAML 1.1
            return YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        problem = error.problem or error.context or "not YAML"
        raise SweepError(f"not YAML: {problem}", where=f"{where}{line}") from error
    except Exception as error:
        # The loader lets many of Python's own errors through for broken tags, numbers and nesting.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SweepError(f"not YAML: {reason}", where=where) from error


def _lines_of(value: Any, prefix: str, lines: dict[str, int], levels: int = _READ_LEVELS) -> None:
    """Note the line of every dotted key below `prefix`."""
    if levels < 0:
        return
    dotted_keys: dict[Any, str] = {}
    if isinstance(value, CommentedMap):
        keys = [key for key in value if isinstance(key, str)]
        dotted_keys = {key: f"{prefix}.{key}" if prefix else key for key in keys}
    elif isinstance(value, CommentedSeq):
        dotted_keys = {index: f"{prefix}[{index}]" for index in range(len(value))}
    for key, dotted in dotted_keys.items():
        position = (value.lc.data or {}).get(key)  # none for a key that was merged in
        if position:
            lines[dotted] = position[0] + 1
        _lines_of(value[key], dotted, lines, levels - 1)


def _others(path: Path) -> str:
    found = sorted(path.parent.glob("*.yaml")) if path.parent.is_dir() else []
    return f"There are {', '.join(str(p) for p in found[:8])}." if found else ""
