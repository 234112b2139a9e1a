"""What a user can get wrong, and how it is said: what, where, what is allowed, how to cure it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 200


class SweepError(Exception):
    """A mistake that the user can cure. The command line prints it and exits with code 2.

    Args:
        what: what is wrong, with the offending value.
        where: file, line or key.
        allowed: what would be right.
        cure: what to type instead.
    """

    def __init__(self, what: str, *, where: str = "", allowed: str = "", cure: str = "") -> None:
        self.what, self.where, self.allowed, self.cure = what, where, allowed, cure
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        if self.cure:
            text += f". {self.cure}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call __init__ with the joined text and lose the parts.
        return (_rebuild, (type(self), self.what, self.where, self.allowed, self.cure))


def _rebuild(kind: type[SweepError], what: str, where: str, allowed: str, cure: str) -> SweepError:
    return kind(what, where=where, allowed=allowed, cure=cure)


def nearest(word: object, options: Iterable[str]) -> str:
    """A hint `Did you mean 'x'?` for the option most like `word`, or nothing."""
    if not isinstance(word, str):
        return ""
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else ""


def shown(value: object) -> str:
    """A value as it stands in a message: its repr, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits, a list within itself
        text = f"{type(value).__name__} too big to show"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def one_of(options: Iterable[str]) -> str:
    """The options as they stand in a message."""
    return ", ".join(sorted(options))
