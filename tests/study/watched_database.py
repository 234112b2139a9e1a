"""A study's database that a simulation watches, and that fails when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from sweeper.lane.run import Run
from sweeper.study import tables
from sweeper.study.database import Change, Database, Trial, Unavailable


class Watcher(Protocol):
    """Gets every write when it begins, and once when it was committed."""

    def begins(self, what: object) -> None: ...
    def added(self, trials: Sequence[Trial], runs: Sequence[Run]) -> None: ...
    def recorded(self, change: Change) -> None: ...


@lru_cache(maxsize=1)
def in_memory() -> WatchedDatabase:
    """The database of all simulations in this process, one after another."""
    return WatchedDatabase("sqlite://")


class WatchedDatabase(Database):
    """See the module.

    Args:
        url: of the database.

    Attributes:
        watcher: gets the writes.
        fails: asked before every write: "before" it, "after" it, or not at all.
    """

    def __init__(self, url: str | Path) -> None:
        super().__init__(url, create=True)
        self.watcher: Watcher | None = None
        self.fails: Callable[[], str] = lambda: ""
        self._forgotten: list[object] = []

    def add_trials(self, trials: Sequence[Trial], runs: Sequence[Run]) -> None:
        what = [trial.number for trial in trials]

        def write() -> None:
            super(WatchedDatabase, self).add_trials(trials, runs)

        self._do(what, write, lambda watcher: watcher.added(trials, runs))

    def record(self, change: Change) -> None:
        def write() -> None:
            super(WatchedDatabase, self).record(change)

        self._do(change, write, lambda watcher: watcher.recorded(change))

    def put_meta(self, **values: Any) -> None:
        if self.fails():
            raise Unavailable("simulated")
        super().put_meta(**values)

    def wipe(self) -> None:
        """Make it as new: another engine would compile every statement once more."""
        with self._writer.begin() as connection:
            for table in reversed(tables.metadata.sorted_tables):
                connection.execute(table.delete())
        super().put_meta(schema=tables.SCHEMA)
        self.forget()

    def forget(self) -> None:
        """A new study begins: it repeats nothing of what the one before was about to write."""
        self._forgotten = []

    def _do(
        self, what: object, write: Callable[[], None], tell: Callable[[Watcher], None]
    ) -> None:
        if self.watcher is not None:
            self.watcher.begins(what)
        fails = self.fails()
        if fails == "before":
            raise Unavailable("simulated")
        write()
        if self.watcher is not None and what not in self._forgotten:
            tell(self.watcher)
        self._forgotten = []
        if fails == "after":
            self._forgotten = [what]
            raise Unavailable("simulated: the answer is lost")
