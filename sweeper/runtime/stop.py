"""Stopping a sweep from anywhere that reaches its database: a request that its driver obeys."""

from __future__ import annotations

import time
from contextlib import closing

from sweeper.errors import SweepError
from sweeper.results.status import is_alive, status
from sweeper.study.folder import Folder

_POLL_S = 0.3


def stop(folder: Folder, *, wait_s: float = 120.0) -> str:
    """Ask the driver to save and end, and wait until it has; returns the state it ended in.

    Raises:
        SweepError: nobody runs it, or it doesn't end in time.
    """
    found = status(folder)
    if not is_alive(found):
        raise SweepError(
            f"sweep {folder.name!r} doesn't run: it is {found['state']}",
            where=str(folder.path),
            cure=f"Go on with it: sweeper resume {folder.name}",
        )
    with closing(folder.database()) as database:
        launch = database.meta("launch")
        database.put_meta(stop=launch)
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            ended = database.meta("ended")
            if ended is not None or database.meta("launch") != launch:
                return str(ended)
            time.sleep(_POLL_S)
    raise SweepError(
        f"sweep {folder.name!r} has not ended within {wait_s:.0f} s",
        where=str(folder.path),
        cure=f"Look at it: sweeper status {folder.name}",
    )
