"""Rows as data: saved, loaded, moved, compacted; they go on bit for bit."""

from __future__ import annotations

import pytest
import torch
from packs import advance, arena_of
from problems import quadratic
from references import cases

from sweeper.errors import SweepError
from sweeper.optim.arena import Arena
from sweeper.optim.configuration import parse
from sweeper.optim.rules import RULES

CONFIGS = {
    rule: [config for config, _ in cases().values() if parse(config).rule == rule]
    for rule in RULES
}


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_row_goes_on_bit_for_bit_wherever_it_is_put(rule: str) -> None:
    problem = quadratic()
    config = {**CONFIGS[rule][-1], "schedule": "onecycle"}
    whole = advance(problem, arena_of(problem, [config], 80, capacity=8), 80)[0]
    first = arena_of(problem, [config], 80, capacity=8)
    advance(problem, first, 33)
    saved = first.save(0)
    other = arena_of(problem, CONFIGS[rule][:1] * 3, 50, capacity=8)
    other.load(6, saved, parse(config), 80)
    assert torch.equal(advance(problem, other, 47)[6], whole[33:])
    assert other.save(6)["step"] == 80


def test_a_saved_row_does_not_change_with_its_slot() -> None:
    problem = quadratic()
    arena = arena_of(problem, [{"optimizer": "adam"}], 10)
    saved = arena.save(0)
    advance(problem, arena, 5)
    assert torch.equal(saved["theta"], problem.start)
    assert int(saved["step"]) == 0


def test_compacted_rows_keep_their_order_and_go_on() -> None:
    problem = quadratic()
    configs = [{"optimizer": "nadam", "lr": 1e-2 * (1 + i)} for i in range(5)]
    whole = advance(problem, arena_of(problem, configs, 40), 40)
    arena = arena_of(problem, configs, 40)
    advance(problem, arena, 15)
    arena.clear(0)
    arena.clear(3)
    assert arena.compact() == {1: 0, 2: 1, 4: 2}
    assert [row is None for row in arena.rows] == [False, False, False, True, True]
    assert not arena.theta[3:].any()
    after = advance(problem, arena, 25)
    for new, old in enumerate((1, 2, 4)):
        assert torch.equal(after[new], whole[old, 15:])


def test_a_row_is_not_put_into_a_pack_of_another_rule() -> None:
    arena = Arena.empty(RULES["adam"], 2, (3,))
    with pytest.raises(SweepError, match="sgd in a pack of adam"):
        arena.start(0, torch.zeros(3), parse({"optimizer": "sgd"}), 10)
