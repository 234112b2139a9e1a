"""The files of a sweep as a lane sees them: small whole files, written aside and renamed."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from sweeper.errors import SweepError

_T = TypeVar("_T")
_AGAIN_S = (0.1, 0.5, 2.0)


class AwayError(OSError):
    """The storage can't be reached at present: what lies there is not lost."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A folder of whole files, named by relative paths.

    Args:
        folder: absolute path of the sweep.
    """

    folder: str

    key: ClassVar[str] = "storage"
    cure: ClassVar[str] = "Choose another folder with --storage."

    def write(self, path: str, data: bytes) -> None:
        """Write a file so that a reader finds all of it or nothing; on disk before it returns."""
        target = self.local(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
            _sync_folder(target.parent)
        except OSError:
            aside.unlink(missing_ok=True)
            raise

    def read(self, path: str) -> bytes:
        """The bytes of a file; raises OSError when trying again doesn't help."""
        return patiently(self.local(path).read_bytes)

    def remove(self, path: str) -> None:
        """Remove a file; one that can't be removed is left to the next launch."""
        with suppress(OSError):
            self.local(path).unlink(missing_ok=True)

    def names(self, folder: str) -> Sequence[str]:
        """The names of what lies in a folder; none where there is no such folder.

        Raises:
            OSError: it can't be told.
        """
        place = self.local(folder)
        return [one.name for one in place.iterdir()] if place.is_dir() else []

    def prove_writable(self) -> None:
        """Raise SweepError unless files can be written here."""
        try:
            patiently(self._prove_writable)
        except OSError as error:
            raise self.refused("write to", error) from error

    def refused(self, what: str, error: OSError, who: str = "") -> SweepError:
        """That something can't be done here, for whoever can mend it.

        Args:
            what: such as "write to".
            who: can't do it, where that isn't this machine or plain.
        """
        return SweepError(
            f"{who}can't {what} {self.folder}: {reason_of(error)}", where=self.key, cure=self.cure
        )

    def _prove_writable(self) -> None:
        probe = f".probe-{uuid.uuid4().hex[:8]}"
        self.write(probe, b"")
        self.remove(probe)

    def local(self, path: str) -> Path:
        """The file of a relative path; refuses paths that lead out of the folder."""
        root = Path(self.folder)
        full = (root / path).resolve()
        if not full.is_relative_to(root.resolve()):
            raise SweepError(f"{path!r} leads out of {self.folder}", where=self.key)
        return full


def reason_of(error: OSError) -> str:
    """What went wrong, without the number of the error."""
    return error.strerror or str(error)


def patiently(action: Callable[[], _T]) -> _T:
    """Do what may fail now and then."""
    for delay in _AGAIN_S:
        try:
            return action()
        except FileNotFoundError:
            raise
        except OSError:
            time.sleep(delay)
    return action()


def _sync_folder(folder: Path) -> None:
    """Bring a rename to disk, as far as the file system can: the database will name the file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
