"""Whether a lane's storage is the one of its driver: both may have a folder of that path."""

from __future__ import annotations

import secrets
import socket
from typing import NamedTuple

from sweeper.errors import SweepError
from sweeper.lane.storage import Storage
from sweeper.study import copies

_FILE = ".launch"


class Token(NamedTuple):
    """What the driver of a launch has left in the storage.

    Args:
        launch: number of the launch.
        word: that nobody else knows.
        host: of the driver.
    """

    launch: int
    word: str
    host: str


class SupersededError(Exception):
    """A later launch has left its own token."""


def leave_token(storage: Storage, launch: int) -> Token:
    """Leave a token for the lanes of a launch; raises SweepError where that can't be done."""
    token = Token(launch, secrets.token_hex(8), socket.gethostname())
    copies.write(storage, _FILE, f"{launch} {token.word}".encode())
    return token


def check_token(storage: Storage, token: Token, host: str) -> None:
    """Look for the token of a launch.

    Args:
        host: of this lane.

    Raises:
        SweepError: it isn't here: this is another folder than that of the driver, or none.
        SupersededError: there is that of a later launch.
    """
    try:
        found = storage.read(_FILE).decode(errors="replace")
    except FileNotFoundError:
        found = ""
    except OSError as error:
        raise storage.refused("read", error, f"the lane on {host} ") from error
    number, _, word = found.partition(" ")
    if word == token.word:
        return
    if number.isdigit() and int(number) > token.launch:
        raise SupersededError
    raise SweepError(
        f"the lane on {host} doesn't see {storage.folder} of the driver on {token.host}: "
        + ("another folder is there" if found else "it isn't there"),
        where=storage.key,
        cure="Name a folder that all nodes share (--storage /shared/sweeps), or let the lanes "
        "write to an object store (--set files=s3://bucket/sweeps).",
    )
