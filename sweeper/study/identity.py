"""What every record of a sweep outside its database says alike: which sweep, and which error."""

from __future__ import annotations

import threading
import uuid

from sweeper.study.database import Database

_LOCK = threading.Lock()
_FIRST_LINE = 150


def sweep_id(database: Database) -> str:
    """The identity of a sweep, whatever its name; given to the database where it has none.

    Safe for threads; of several processes only one may call it at a time.
    """
    with _LOCK:
        found = database.meta("id")
        if found is None:
            found = uuid.uuid4().hex
            database.put_meta(id=found)
        return str(found)


def short_error(text: str, most: int = 500) -> str:
    """The first line of an error and as many of its last lines as fit: those say most.

    Args:
        most: characters of the result.
    """
    text = text.strip()
    if len(text) <= most:
        return text
    head = text.partition("\n")[0][:_FIRST_LINE] + "\n...\n"
    tail = text[len(head) - most :]
    if "\n" in tail[:-1] and text[len(head) - most - 1] != "\n":
        whole = tail.partition("\n")[2]
        # A last line that is long itself is better cut than left out.
        tail = whole if len(whole) > most // 4 else tail
    return head + tail
