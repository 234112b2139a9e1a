"""Copies of a sweep's own files beside its row files: its folder may go with its machine."""

from __future__ import annotations

from sweeper.errors import SweepError
from sweeper.lane.storage import Storage, patiently


def read(storage: Storage, name: str) -> bytes | None:
    """The copy of a file; None where there is none. Raises SweepError where nobody can tell."""
    try:
        return storage.read(name)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage.refused("read", error) from error


def write(storage: Storage, name: str, data: bytes) -> None:
    """Put the copy of a file; raises SweepError where that can't be done."""
    try:
        patiently(lambda: storage.write(name, data))
    except OSError as error:
        raise storage.refused("write to", error) from error


def taken(storage: Storage, name: str) -> SweepError:
    """A new sweep finds the files of another one."""
    return SweepError(
        f"{storage.folder} has the files of a sweep {name!r} whose folder and study are elsewhere",
        where=storage.key,
        cure="Launch it where its folder is, give this one another name (--set name=...), or "
        "remove those files.",
    )
