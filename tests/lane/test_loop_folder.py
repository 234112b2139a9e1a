"""The folder of an own loop: what its journal says, and when that isn't enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeper.lane.journal import Entry, Journal
from sweeper.lane.loop_folder import LoopFolder, LostError

Open = Callable[..., LoopFolder]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the folder with a journal of these entries, beside a checkpoint; nothing of none."""
    folders: list[LoopFolder] = []

    def open_it(*spans: tuple[int, int]) -> LoopFolder:
        path = tmp_path / "run"
        if spans:
            _write(path, spans)
        folders.append(LoopFolder(path))
        return folders[-1]

    yield open_it
    for folder in folders:
        folder._lock.close()  # else it ends with the process


def _write(path: Path, spans: tuple[tuple[int, int], ...]) -> None:
    path.mkdir()
    journal = Journal(path, "run")
    journal.open()
    for first, stop in spans:
        journal.add(Entry(first, stop, float(first)))
    journal.close()
    (path / "checkpoint.pt").write_text("of the loop")


def spans(entries: list[Entry]) -> list[tuple[int, int]]:
    return [(one.first, one.stop) for one in entries]


def test_entries_from_the_lane_s_step_on(opened: Open) -> None:
    folder = opened((0, 2), (2, 5), (5, 6))
    journal, entries = folder.journal("run", 3)
    journal.close()
    assert spans(entries) == [(2, 5), (5, 6)]
    assert not journal.is_new and (folder.path / "checkpoint.pt").exists()


def test_a_gap_before_the_lane_s_step_does_not_matter(opened: Open) -> None:
    folder = opened((0, 2), (4, 6), (6, 7))
    assert spans(folder.journal("run", 4)[1]) == [(4, 6), (6, 7)]


@pytest.mark.parametrize(
    ("entries", "step"),
    [
        (((0, 2), (4, 6)), 1),  # a crashed disk took the steps between
        (((3, 6),), 1),
    ],
)
def test_steps_that_are_known_nowhere_lose_the_run(
    opened: Open, entries: tuple[tuple[int, int], ...], step: int
) -> None:
    folder = opened(*entries)
    with pytest.raises(LostError):
        folder.journal("run", step)
    assert not (folder.path / "checkpoint.pt").exists()


def test_a_folder_of_another_run_is_emptied(opened: Open) -> None:
    folder = opened((0, 2))
    journal, entries = folder.journal("another", 0)
    assert journal.is_new and entries == []
    assert not (folder.path / "checkpoint.pt").exists()


def test_a_run_whose_journal_is_gone_starts_anew(opened: Open) -> None:
    folder = opened()
    with pytest.raises(LostError):
        folder.journal("run", 5)
