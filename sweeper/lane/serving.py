"""A lane process: one lane after another, each with half the slots when memory didn't suffice."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

from sweeper.lane.lane import Lane
from sweeper.lane.memory import PackTooLargeError, give_memory_back
from sweeper.lane.protocol import Identity, StudyPort
from sweeper.lane.settings import LaneSettings
from sweeper.lane.storage import Storage


def new_identity(lane: int, host: str, node: str = "") -> Identity:
    """The identity of a lane process that begins."""
    return Identity(uuid.uuid4().hex[:12], lane, host, node)


def serve(
    who: Identity,
    settings: LaneSettings,
    study: StudyPort,
    storage: Storage,
    *,
    halve: Callable[[int, str], int],
    begin: Callable[[Lane], None] = lambda lane: None,
    on_chunk: Callable[[], None] = lambda: None,
) -> None:
    """Train until the study ends the sweep, or the lane is told to leave.

    Args:
        halve: told a capacity for which memory doesn't suffice, and the error; gives the next one.
        begin: gets every lane before it trains.
        on_chunk: called after every chunk.
    """
    while True:
        too_large = _serve_once(who, settings, study, storage, begin, on_chunk)
        if too_large is None:
            return
        give_memory_back()
        settings = replace(settings, capacity=halve(settings.capacity, too_large))
        # The process before has left: its name counts no more.
        who = replace(who, process=uuid.uuid4().hex[:12])


def _serve_once(
    who: Identity,
    settings: LaneSettings,
    study: StudyPort,
    storage: Storage,
    begin: Callable[[Lane], None],
    on_chunk: Callable[[], None],
) -> str | None:
    """Why memory didn't suffice; None when the lane came to its end."""
    lane = Lane(who, settings, study, storage)
    begin(lane)
    try:
        lane.run(on_chunk)
    except PackTooLargeError as error:
        return str(error)
    return None
