"""Row files: the state of several runs at one moment, as plain tensors (safetensors).

A key is `<run>/<tensor>`. Any lane can load any row; nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping

from safetensors.torch import load, save
from torch import Tensor

from sweeper.lane.storage import Storage

FOLDER = "rows"


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
    """The row of one run; raises KeyError when the file doesn't hold it."""
    prefix = f"{run}/"
    found = {
        key.removeprefix(prefix): tensor
        for key, tensor in load(storage.read(path)).items()
        if key.startswith(prefix)
    }
    if not found:
        raise KeyError(f"{path} holds no row of run {run}")
    return found
