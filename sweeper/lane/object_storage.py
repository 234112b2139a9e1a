"""The files of a sweep in an object store, or on whatever else fsspec knows: by URL."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from sweeper.errors import SweepError
from sweeper.lane.storage import AwayError, Storage, patiently

# What a whole object is put to at once; elsewhere it is written aside and moved.
_ATOMIC = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl"}
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
# A try of an S3 client must end long before its lane is taken for dead: by itself it would go on
# for minutes. Trying again is the business of whoever has the patience.
_S3 = {"config_kwargs": {"connect_timeout": 5, "read_timeout": 20, "retries": {"mode": "standard",
       "total_max_attempts": 1}}}  # fmt: skip
_S3_TRIES = 2


def storage_at(place: str) -> Storage:
    """The storage at a URL, or in the folder of a path."""
    scheme, is_url, path = place.partition("://")
    if not is_url:
        return Storage(place)
    return Storage(path) if scheme == "file" else ObjectStorage(place)


@dataclass(frozen=True, slots=True)
class ObjectStorage(Storage):
    """A folder of whole objects, named by relative paths.

    What the client of a store raises becomes an OSError: FileNotFoundError where the store says
    that there is no such object, else AwayError.

    Args:
        folder: URL of the sweep, see sweeper.files_url.
    """

    key: ClassVar[str] = "files"
    cure: ClassVar[str] = (
        "Look at the bucket and at the credentials in the environment of this machine, or choose "
        "another place (--set files=...)."
    )

    def write(self, path: str, data: bytes) -> None:
        target = self._object(path)
        with _as_os_errors():
            files, scheme = _file_system(self.folder, os.getpid())
            if scheme in _ATOMIC:
                files.pipe_file(target, data)
                return
            parent, _, name = target.rpartition("/")
            aside = f"{parent}/.{name}.{uuid.uuid4().hex[:8]}"
            files.makedirs(parent, exist_ok=True)
            try:
                files.pipe_file(aside, data)
                files.mv(aside, target)
            except Exception:
                with suppress(Exception):
                    files.rm_file(aside)
                raise

    def read(self, path: str) -> bytes:
        target = self._object(path)

        def read() -> bytes:
            with _as_os_errors():
                return bytes(_file_system(self.folder, os.getpid())[0].cat_file(target))

        return patiently(read)

    def remove(self, path: str) -> None:
        target = self._object(path)
        with suppress(OSError), _as_os_errors():
            _file_system(self.folder, os.getpid())[0].rm_file(target)

    def names(self, folder: str) -> Sequence[str]:
        place = self._object(folder)
        try:
            with _as_os_errors():
                files, _ = _file_system(self.folder, os.getpid())
                found = files.ls(place, detail=False)
        except FileNotFoundError:
            return []
        return [one.rpartition("/")[2] for one in found if one.rstrip("/") != place]

    def _prove_writable(self) -> None:
        probe, data = f".probe-{uuid.uuid4().hex[:8]}", b"sweeper"
        self.write(probe, data)
        found = self.read(probe)
        self.remove(probe)
        if found != data:
            raise OSError(errno.EIO, "what was written there reads otherwise")

    def local(self, path: str) -> Path:
        raise SweepError(
            f"{path} has to be a folder of a file system, and {self.folder} is none",
            where=self.key,
            cure="Name one that all nodes share: files: file:///folder, or a shared --storage.",
        )

    def _object(self, path: str) -> str:
        """The object of a relative path; refuses paths that lead out of the folder."""
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\\" in path:
            raise SweepError(f"{path!r} leads out of {self.folder}", where=self.key)
        root = str(_file_system(self.folder, os.getpid())[0]._strip_protocol(self.folder))
        return "/".join([root.rstrip("/"), *parts])


@cache
def _file_system(url: str, process: int) -> tuple[Any, str]:
    """The client of a URL's store and its scheme, one for each process: they don't survive a fork.

    Raises:
        SweepError: its package is missing, or fsspec knows no such scheme.
    """
    del process
    import fsspec  # with its clients it takes a second, and most sweeps need none

    scheme = url.partition("://")[0]
    options = _S3 if scheme in ("s3", "s3a") else {}
    try:
        files, _ = fsspec.core.url_to_fs(
            url, use_listings_cache=False, skip_instance_cache=True, **options
        )
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        raise SweepError(
            f"{scheme}:// needs a package that is not installed here: {error}",
            where=ObjectStorage.key,
            cure=f"pip install 'sweeper[{extra}]'" if extra else "Install it.",
        ) from error
    except ValueError as error:
        raise SweepError(f"{scheme}:// can't be used: {error}", where=ObjectStorage.key) from error
    if options:
        files.retries = _S3_TRIES
    return files, scheme


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, SweepError):
        raise
    except Exception as error:  # each client has exceptions of its own
        reason = error.strerror if isinstance(error, OSError) else None
        name = "" if isinstance(error, OSError) else f"{type(error).__name__}: "
        raise AwayError(errno.EIO, reason or f"{name}{error}") from error
