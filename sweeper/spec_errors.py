"""What pydantic finds wrong with a spec, said as everything else is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from sweeper.errors import SweepError, nearest, one_of, shown


def explain(
    error: ValidationError, raw: dict[str, Any], spec: type[BaseModel]
) -> tuple[SweepError, str]:
    """The first mistake that pydantic found, in our words, and the key to blame."""
    errors = error.errors()
    unknown = next((one for one in errors if one["type"] == "extra_forbidden"), None)
    if unknown is not None:
        *place, last = unknown["loc"]
        where, key = _key(raw, place), str(last)
        known = _known_keys(spec, where)
        mistake = SweepError(
            f"unknown key {shown(key)}",
            where=where,
            allowed=one_of(known),
            cure=nearest(key, known),
        )
        return mistake, f"{where}.{key}" if where else key
    first = errors[0]
    if first["type"] == "missing":
        return SweepError(f"the key {first['loc'][-1]!r} is missing"), ""
    # A union has an error for each of its members; the one that got furthest tells most.
    keys = [_key(raw, one["loc"]) for one in errors]
    key = max((key for key in keys if key.startswith(keys[0])), key=len)
    same = [one for one, found in zip(errors, keys, strict=True) if found == key]
    value = same[0]["input"]
    options = re.findall("'([^']*)'", " ".join(one["msg"] for one in same))
    allowed = " or ".join(dict.fromkeys(_allowed(one) for one in same))
    return SweepError(shown(value), where=key, allowed=allowed, cure=nearest(value, options)), key


def _allowed(error: Mapping[str, Any]) -> str:
    """What pydantic wants, without its introduction."""
    if error["type"] in ("dict_type", "model_type"):
        return "a mapping"
    if error["type"] == "missing":
        return f"a mapping with {error['loc'][-1]}"
    plain = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    words = {"a valid integer": "an int", "a valid string": "text"}
    return words.get(plain, plain.replace("a valid ", "a "))


def _key(raw: Any, location: Sequence[str | int]) -> str:
    """The dotted key of a place; pydantic adds the members of unions, which are no keys."""
    dotted = ""
    for part in location:
        if isinstance(raw, Mapping) and part in raw:
            dotted, raw = f"{dotted}.{part}" if dotted else str(part), raw[part]
        elif isinstance(raw, list) and isinstance(part, int):
            dotted, raw = f"{dotted}[{part}]", raw[part]
    return dotted


def _known_keys(spec: type[BaseModel], where: str) -> list[str]:
    """The keys of a section by its dotted key."""
    model: Any = spec
    for key in where.split(".") if where else ():
        annotation = model.model_fields[key].annotation
        members = get_args(annotation) or (annotation,)
        model = next(m for m in members if isinstance(m, type) and issubclass(m, BaseModel))
    return list(model.model_fields)
