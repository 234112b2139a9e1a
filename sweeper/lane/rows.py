"""Row files: the state of several runs at one moment, as plain tensors (safetensors).

A key is `<run>/<tensor>`. Any lane can load any row; nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sweeper.lane.storage import AwayError, Storage

FOLDER = "rows"


class UnreadableError(Exception):
    """A row file is gone, cut off or not what it should be."""


def write_rows(storage: Storage, name: str, rows: Mapping[int, Mapping[str, Tensor]]) -> str:
    """Write the rows of runs by id as one file; returns its path."""
    path = f"{FOLDER}/{name}.safetensors"
    tensors = {
        f"{run}/{key}": tensor.contiguous()
        for run, row in rows.items()
        for key, tensor in row.items()
    }
    storage.write(path, save(tensors, metadata={"schema": "1"}))
    return path


def read_row(storage: Storage, path: str, run: int) -> dict[str, Tensor]:
    """The row of one run, see RowReader."""
    return RowReader(storage).row(path, run)


class RowReader:
    """Reads rows. The last file is kept: runs that are granted together mostly share one."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._path, self._tensors = "", dict[str, Tensor]()

    def row(self, path: str, run: int) -> dict[str, Tensor]:
        """The row of one run.

        Raises:
            UnreadableError: the file is gone or broken, or doesn't hold it.
            AwayError: nobody can tell at present.
        """
        prefix = f"{run}/"
        found = {
            key.removeprefix(prefix): tensor
            for key, tensor in self._file(path).items()
            if key.startswith(prefix)
        }
        if not found:
            raise UnreadableError(f"{path} holds no row of run {run}")
        return found

    def forget(self) -> None:
        """Give the memory of the last file back."""
        self._path, self._tensors = "", {}

    def _file(self, path: str) -> dict[str, Tensor]:
        if path != self._path:
            try:
                self._tensors = load(self._storage.read(path))
            except AwayError:
                raise
            except (OSError, SafetensorError, ValueError) as error:
                raise UnreadableError(f"{path}: {error}") from error
            self._path = path
        return self._tensors
