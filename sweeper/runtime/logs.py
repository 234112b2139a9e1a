"""The log of a lane process: what it prints, and where it was when a signal killed it."""

from __future__ import annotations

import faulthandler
import os
import re
import sys
import tempfile
from pathlib import Path

FOLDER = "logs"
_LINES = 40
_END_BYTES = 20_000
_MODULES = "Extension modules:"
_PROCESS = re.compile(r"[0-9a-f]{1,32}")


def redirect(folder: Path, process: str) -> None:
    """Let everything that this process prints go into its log, native code included.

    On a machine that doesn't have the folder of the sweep the log is in its temporary folder.
    """
    if not _is_here(folder):
        folder = _elsewhere(folder)
        folder.parent.mkdir(mode=0o700, exist_ok=True)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    handle = os.open(_path(folder, process), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    faulthandler.enable(file=2, all_threads=False)


def last_words(folder: Path, process: str) -> str:
    """The end of a log on this machine; empty when there is none."""
    if not _PROCESS.fullmatch(process):
        return ""
    text = _end(_path(folder, process)) or _end(_path(_elsewhere(folder), process))
    # Python lists all extension modules after a crash: thousands of characters about nothing.
    lines = [one for one in text.strip().splitlines() if not one.startswith(_MODULES)]
    return "\n".join(lines[-_LINES:]).strip()


def _is_here(folder: Path) -> bool:
    return (folder / "sweep.yaml").exists()


def _elsewhere(folder: Path) -> Path:
    return Path(tempfile.gettempdir()) / f"sweeper-{os.getuid()}" / folder.name


def _end(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _path(folder: Path, process: str) -> Path:
    return folder / FOLDER / f"{process}.log"
