"""`env:NAME` in place of a URL: a secret stays in the environment, and out of sweep.yaml."""

from __future__ import annotations

import os
import re

from sweeper.errors import SweepError

_VARIABLE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


def is_reference(text: str, key: str, allowed: str) -> bool:
    """Whether a value names an environment variable.

    Raises:
        SweepError: it begins like one, and names none.
    """
    if not text.startswith("env:"):
        return False
    if not _VARIABLE.fullmatch(text):
        raise SweepError("no name of an environment variable", where=key, allowed=allowed)
    return True


def resolved(text: str, key: str, cure: str) -> tuple[str, str]:
    """The value itself, and where it comes from in words.

    Raises:
        SweepError: the environment variable has none.
    """
    named = _VARIABLE.fullmatch(text)
    if named is None:
        return text, key
    value = os.environ.get(named[1], "")
    if not value:
        raise SweepError(
            f"the environment variable {named[1]} is not set", where=key, cure=f"Set it, or {cure}"
        )
    return value, f"{key}: the environment variable {named[1]}"
