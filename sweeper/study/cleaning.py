"""Files that a crash left behind: written, but never named by the database."""

from __future__ import annotations

from contextlib import suppress

from sweeper.lane import rows, trajectories
from sweeper.lane.storage import Storage
from sweeper.study.database import Database


def remove_orphans(storage: Storage, database: Database) -> None:
    """Remove row files and trajectory parts that don't count. Only while no lane lives.

    What can't be removed now is removed at the next launch.
    """
    needed = {part.path for part in database.parts()}
    needed |= {row.row_file for row in database.runs(told=False) if row.row_file}
    for folder in (rows.FOLDER, trajectories.FOLDER):
        with suppress(OSError):
            for name in storage.names(folder):
                if f"{folder}/{name}" not in needed:
                    storage.remove(f"{folder}/{name}")
