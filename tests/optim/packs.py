"""Rows of an arena, trained step by step."""

from __future__ import annotations

from typing import Any

import torch
from problems import Problem
from torch import Tensor

from sweeper.optim.arena import Arena
from sweeper.optim.configuration import parse
from sweeper.optim.rules import RULES
from sweeper.optim.step import Step


def arena_of(
    problem: Problem,
    configs: list[dict[str, Any]],
    horizon: int,
    *,
    dtype: torch.dtype = torch.float64,
    capacity: int | None = None,
    **options: Any,
) -> Arena:
    """An arena whose first slots hold these configurations."""
    parsed = [parse(config) for config in configs]
    arena = Arena.empty(
        RULES[parsed[0].rule], capacity or len(configs), problem.sizes, dtype=dtype, **options
    )
    for slot, configuration in enumerate(parsed):
        arena.start(slot, problem.start, configuration, horizon)
    return arena


def advance(
    problem: Problem, arena: Arena, steps: int, *, compiled: bool = False, step: Step | None = None
) -> Tensor:
    """Train; parameters after every step, `[K, steps, P]`."""
    step = step or Step(arena, problem.gradient, compiled=compiled)
    table = arena.coefficients(steps)
    points = []
    for row in table:
        step.plain(row)
        points.append(arena.theta.clone())
    arena.advance(steps)
    return torch.stack(points, dim=1)


def packed(problem: Problem, configs: list[dict[str, Any]], steps: int, **options: Any) -> Tensor:
    """Parameters of every row after every step, `[K, steps, P]`."""
    return advance(problem, arena_of(problem, configs, steps, **options), steps)
