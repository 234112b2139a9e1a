"""Which pack of a lane is trained next, and how many runs it takes; on real packs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sweeper.lane import packs as packs_module
from sweeper.lane.lane import Lane
from sweeper.lane.pack import Machine
from sweeper.lane.packs import Packs
from sweeper.lane.protocol import Identity
from sweeper.lane.run import Run
from sweeper.lane.settings import LaneSettings
from sweeper.lane.storage import Storage
from sweeper.optim.configuration import Program, parse
from sweeper.spec import check
from sweeper.stability.limits import Limits
from sweeper.study.database import Database
from sweeper.study.study import Study
from sweeper.tasks.registry import TaskName


def settings(**changes: Any) -> LaneSettings:
    given = {"capacity": 4, "programs": 3, **changes}
    return LaneSettings(
        task=TaskName("digits", {"hidden": 4}),
        machine=Machine(compiled=False),
        limits=Limits(),
        **given,
    )


def program(size: int) -> Program:
    return parse({"batch_size": size}).program


def filled(sizes: Sequence[int], **changes: Any) -> Packs:
    """Packs with one run for each of these batch sizes."""
    packs = Packs(settings(**changes), Storage("nowhere"))  # which own loops alone need
    for number, size in enumerate(sizes):
        packs.place(Run(number, number, {"batch_size": size}, 0, 100), None)
    return packs


def coming(packs: Packs, **how: bool) -> int | None:
    one = packs.next(**how)
    return None if one is None else one.pack.task.batch_size


def test_the_fullest_pack_is_trained_and_of_equals_the_older() -> None:
    packs = filled([8, 16, 16, 32, 32])
    assert coming(packs) == 16
    packs.holder(1).remove(1)  # type: ignore[union-attr]
    assert coming(packs) == 32
    packs.holder(3).remove(3)  # type: ignore[union-attr]
    assert coming(packs) == 8
    for run in (0, 2, 4):
        packs.holder(run).remove(run)  # type: ignore[union-attr]
    assert coming(packs) is None and packs.active == 0


def test_in_turn_every_pack_gets_its_chunk() -> None:
    packs = filled([8, 16, 16, 32])
    seen = []
    for _ in range(6):
        one = packs.next(in_turn=True)
        assert one is not None
        packs.note_turn(one, 10)
        seen.append(one.pack.task.batch_size)
    assert seen == [8, 16, 32, 8, 16, 32]
    assert (packs.used, packs.offered) == (10 * 2 * (1 + 2 + 1), 6 * 10 * 4)


@pytest.mark.parametrize(
    ("held", "waiting", "programs", "room"),
    [
        ([], [], 3, 4),
        ([8], [], 3, 3),
        ([8, 16, 32], [], 3, 3),  # until one pack is full
        ([8] * 4 + [16, 32], [], 3, 0),
        ([8, 16], [16, 16, 16], 3, 0),  # what waits counts
        ([8, 8, 8, 16, 16, 16, 32, 32, 32, 64], [64, 64], 3, 0),  # 12 runs at most
        ([8, 16], [], 1, 2),  # one program: as many as a pack holds
    ],
)
def test_a_lane_takes_runs_until_one_pack_is_full(
    held: list[int], waiting: list[int], programs: int, room: int
) -> None:
    assert filled(held, programs=programs).room(map(program, waiting)) == room


def test_runs_that_end_within_the_next_chunk_make_room() -> None:
    packs = filled([8] * 4 + [16])
    one = packs.next()
    assert one is not None
    one.pack.train(90)
    assert packs.room([]) == 4  # the first chunk has 10 steps


def test_the_memory_of_an_old_empty_pack_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "MOST_PACKS", 2)
    packs = filled([8, 16])
    assert packs.has_room(program(8)) and not packs.has_room(program(32))
    packs.holder(0).remove(0)  # type: ignore[union-attr]
    assert packs.has_room(program(32))
    packs.place(Run(5, 5, {"batch_size": 32}, 0, 100), None)
    assert {one.pack.task.batch_size for one in packs} == {16, 32}


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_lane_of_several_programs_stays_full_and_trains_all(
    tmp_path: Path, sampler: str
) -> None:
    spec = check(
        {
            "name": "one",
            "task": "digits",
            "horizon": {"epochs": 2, "dataset": 1437, "batch_size": 64},
            "seeds": 2,
            "space": {
                "lr": {"log_uniform": [1e-4, 1e-1]},
                "batch_size": {"choice": [32, 64, 256]},
            },
            "search": {"sampler": sampler},
            "budget": {"trials": 32},
            "stability": {"probe": False},
            "stress": {"top": 0},
        }
    )
    with closing(Database(tmp_path / "study.db", create=True)) as database:
        study = Study(database, spec)
        lane = Lane(Identity("a", 0, "here"), settings(), study, Storage(str(tmp_path)))
        lane.run()
        rows = database.runs()
        assert len(rows) == 64 and all(row.result for row in rows)
        for row in rows:
            assert row.run.horizon == 2 * (1437 // row.run.config["batch_size"])
            assert row.result is not None
            assert row.result["steps"] == row.run.horizon or row.result["failed"]
        # One pack after another would have a third of their slots in use.
        assert lane.packs.used / lane.packs.offered > 0.6
