"""Memory of a slot: measured on real packs, and what fits."""

from __future__ import annotations

import math

import pytest

from sweeper.lane.footprint import Footprint, affordable, free_bytes, measure
from sweeper.lane.pack import Machine
from sweeper.optim.configuration import parse
from sweeper.tasks.registry import TaskName


def test_packs_share_what_is_free_and_a_quarter_is_left() -> None:
    taken = Footprint(fixed=100.0, slot=10.0)
    assert taken.of(5, packs=2) == 300.0
    for packs in (1, 2, 7):
        most = taken.most(10_000.0, packs)
        assert taken.of(most, packs) <= 7500.0 < taken.of(most + 1, packs)
    assert taken.most(10.0, 1) == 1  # memory that lacks is told when the pack is made
    assert Footprint(0.0, math.inf).most(1e12, 1) == 1


@pytest.mark.parametrize(
    ("ladder", "most", "fits"),
    [
        ([4, 16, 64], 64, [4, 16, 64]),
        ([4, 16, 64], 63, [4, 16, 32]),
        ([4, 16, 64], 16, [4, 16]),
        ([4, 16, 64], 3, [2]),
        ([4, 16, 64], 1, [1]),
        ([13], 9, [8]),
    ],
)
def test_a_ladder_ends_where_memory_does(ladder: list[int], most: int, fits: list[int]) -> None:
    assert affordable(ladder, most) == fits


def test_a_larger_model_takes_more() -> None:
    machine = Machine(compiled=False)

    def slot(hidden: int) -> tuple[float, int]:
        task = TaskName("digits", {"hidden": hidden}).build()
        size = sum(p.numel() for p in task.initial(0).parameters())
        return measure(task, parse({}), machine).slot, size

    (small, _), (large, size) = slot(64), slot(8192)
    assert large > 10 * small
    assert 12 * size <= large <= 400 * size  # parameters and two moments, at least
    assert (free_bytes(machine, 0.5) or 2.0) > 1.0
