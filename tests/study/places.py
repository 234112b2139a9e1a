"""Where the database of a sweep under test is."""

from __future__ import annotations

from pathlib import Path

from sweeper.study.database import Database


class Place:
    """Where the database of one sweep is; opens it any number of times."""

    def __init__(self, url: str | Path, schema: str | None) -> None:
        self.url, self.schema = url, schema
        self._opened: list[Database] = []

    @property
    def file(self) -> Path:
        assert isinstance(self.url, Path)
        return self.url

    def open(self, *, create: bool = False) -> Database:
        database = Database(self.url, schema=self.schema, create=create)
        self._opened.append(database)
        return database

    def close(self) -> None:
        for database in self._opened:
            database.close()
