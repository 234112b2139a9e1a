"""JSON lines over a socket: how a lane and the process of an own loop talk. No pickle."""

from __future__ import annotations

import json
import socket
from typing import Any

_BYTES = 1 << 16


class Wire:
    """One end of a connection.

    Args:
        end: a connected stream socket.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = b""

    def send(self, kind: str, *values: object) -> None:
        """Send one message; raises OSError when nobody is there any more."""
        text = json.dumps([kind, *values], separators=(",", ":"))
        self._end.sendall(text.encode() + b"\n")

    def receive(self, wait_s: float | None = None) -> list[list[Any]] | None:
        """Messages that have come: none when nothing came in time.

        Args:
            wait_s: how long to wait for the first one; None for ever.

        Returns:
            `[kind, *values]` each; None when the other end is gone.
        """
        self._end.settimeout(wait_s)
        try:
            data = self._end.recv(_BYTES)
        except (TimeoutError, BlockingIOError):
            return []
        except OSError:
            return None
        finally:
            self._end.settimeout(None)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        self._end.close()
