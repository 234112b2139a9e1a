"""Files that a crash left behind: written, but never named by the database."""

from __future__ import annotations

from pathlib import Path

from sweeper.lane import rows, trajectories
from sweeper.study.database import Database


def remove_orphans(folder: Path, database: Database) -> None:
    """Remove row files and trajectory parts that don't count. Only while no lane lives."""
    needed = {part.path for part in database.parts()}
    needed |= {row.row_file for row in database.runs() if row.row_file is not None}
    for name in (rows.FOLDER, trajectories.FOLDER):
        for path in (folder / name).glob("*"):
            if f"{name}/{path.name}" not in needed:
                path.unlink(missing_ok=True)
