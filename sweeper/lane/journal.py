"""The journal of an own loop: what it reported, in the run's folder, written before it counts.

The loop's own checkpoint may be older or newer than the last row file of the lane. Reports of an
older one are known already; the steps up to a newer one are found here.

A file is a header and entries. Each is its length and CRC-32 (8 bytes), and JSON. What a kill cut
off at the end was never reported, and is removed.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAME = ".reports"
_SCHEMA = 1
_FRAME = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class Entry:
    """One report: what is known of the steps `first` to `stop - 1`.

    Args:
        loss: of each of them.
        series: values by the names of SERIES.
        metrics: values by other names.
    """

    first: int
    stop: int
    loss: float
    series: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def to_list(self) -> list[Any]:
        """Plain values; `Entry(*values)` reads them back."""
        return [self.first, self.stop, self.loss, dict(self.series), dict(self.metrics)]


class Journal:
    """The journal of one run, open for writing. Only the holder of the folder's lock has it.

    Args:
        folder: of the run.
        run: what identifies the run; a journal of another one is none.

    Attributes:
        entries: what an earlier process reported, in order.
        is_new: whether there was no journal of this run.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self._path = folder / NAME
        self._header = {"schema": _SCHEMA, "run": run}
        found, whole = _read(self._path)
        self.is_new = found[:1] != [self._header]
        self.entries = [] if self.is_new else [Entry(*values) for values in found[1:]]
        if not self.is_new:
            os.truncate(self._path, whole)
        self._file = -1

    def open(self) -> None:
        """Begin to write; a journal of this run goes on."""
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if self.is_new else os.O_APPEND)
        self._file = os.open(self._path, flags, 0o644)
        if self.is_new:
            self._write(self._header)

    def add(self, entry: Entry) -> None:
        """Add an entry; it outlives this process when this returns."""
        self._write(entry.to_list())

    def close(self) -> None:
        os.close(self._file)

    def _write(self, value: object) -> None:
        data = json.dumps(value, separators=(",", ":")).encode()
        frame = _FRAME.pack(len(data), zlib.crc32(data)) + data
        while frame:  # a write may be cut short, by a signal or a full disk
            frame = frame[os.write(self._file, frame) :]


def _read(path: Path) -> tuple[list[Any], int]:
    """Everything that is whole, and the bytes that it takes."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    found: list[Any] = []
    whole = 0
    while len(data) >= (start := whole + _FRAME.size):
        length, crc = _FRAME.unpack_from(data, whole)
        content = data[start : start + length]
        if len(content) < length or zlib.crc32(content) != crc:
            break
        found.append(json.loads(content))
        whole = start + length
    return found, whole
