"""State that only some settings need: a pack without it gives the same, and refuses the rest."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from packs import advance, arena_of
from problems import quadratic

from sweeper.errors import SweepError
from sweeper.optim.arena import extras_of
from sweeper.optim.configuration import parse
from sweeper.optim.rules import RULES

PLAIN = [
    {"optimizer": "adamw", "lr": 1e-2},
    {"optimizer": "rmsprop", "lr": 1e-2, "momentum": 0.5},
]


@pytest.mark.parametrize("config", PLAIN)
def test_a_row_is_the_same_with_and_without_the_state_of_others(config: dict[str, Any]) -> None:
    problem = quadratic()
    with_state = arena_of(problem, [config], 50)
    without = arena_of(problem, [config], 50, extras=())
    assert len(with_state.state) == len(without.state) + 1
    assert torch.equal(advance(problem, with_state, 50), advance(problem, without, 50))


@pytest.mark.parametrize(
    "config", [{"optimizer": "adam", "amsgrad": True}, {"optimizer": "rmsprop", "centered": True}]
)
def test_what_needs_more_state_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(SweepError, match=r"a pack without state for (amsgrad|centered)"):
        arena_of(quadratic(), [config], 5, extras=())


def test_which_state_some_configurations_need() -> None:
    assert extras_of(map(parse, PLAIN)) == set()
    assert extras_of([parse({"optimizer": "adamw", "amsgrad": True})]) == {"amsgrad"}


def test_bytes_of_a_step() -> None:
    # Gradient read, parameters and two moments read and written, 4 bytes each.
    assert RULES["adam"].bytes_per_parameter() == 28
    assert RULES["adam"].bytes_per_parameter({"amsgrad"}) == 36
    assert RULES["sgd"].bytes_per_parameter() == 20
