"""The compiled step: equal to the eager one, compiled once, and its statistics."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from packs import arena_of
from problems import Problem, normal, quadratic
from references import cases
from torch import Tensor
from torch._dynamo.utils import counters

from sweeper.optim.arena import Arena
from sweeper.optim.configuration import parse
from sweeper.optim.rules import RULES
from sweeper.optim.schedule_catalog import SCHEDULES
from sweeper.optim.statistics import NAMES
from sweeper.optim.step import Step

WIDTH = 24
HESSIAN = normal(WIDTH, WIDTH, seed=0) @ normal(WIDTH, WIDTH, seed=0).T / WIDTH
PROBLEM = Problem((10, 14), normal(WIDTH, seed=1), lambda theta: theta @ HESSIAN @ theta / 2)


def gradient(theta: Tensor) -> tuple[Tensor, Tensor]:
    grad = theta @ HESSIAN.to(theta)
    return grad, (theta * grad).sum(1) / 2


def configs_of(rule: str) -> list[dict[str, Any]]:
    """Settings of a rule with every schedule."""
    chosen = [config for config, _ in cases().values() if parse(config).rule == rule]
    return [
        {**chosen[i % len(chosen)], "schedule": {"kind": kind, "warmup": 0.1}, "clip_norm": 5.0}
        for i, kind in enumerate(SCHEDULES)
    ]


# How the step is run: compiled or not, updates in C++ or not.
WAYS = {"eager": (False, False), "torch.compile": (True, False), "C++": (True, True)}


def trained(arena: Arena, way: str, *, sampled: bool, steps: int = 40) -> Tensor:
    compiled, native = WAYS[way]
    step = Step(arena, gradient, compiled=compiled, native=native)
    losses = []
    for row in arena.coefficients(steps):
        losses.append(step.sampled(row)[0] if sampled else step.plain(row))
    arena.advance(steps)
    return torch.stack(losses)


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_is_eager_and_sampled_is_plain(rule: str, dtype: torch.dtype) -> None:
    ways = [way for way in WAYS if way != "C++" or rule == "adam"]  # the others have none
    found = {}
    for way, sampled in product(ways, (False, True)):
        arena = arena_of(PROBLEM, configs_of(rule), 100, dtype=dtype, keep_update=True)
        found[way, sampled] = (trained(arena, way, sampled=sampled), arena)
    # Rounding in another order over 40 steps.
    tolerance = (
        {"rtol": 1e-4, "atol": 1e-6} if dtype is torch.float32 else {"rtol": 1e-10, "atol": 1e-13}
    )
    for way in ways:
        (plain, one), (with_statistics, other) = found[way, False], found[way, True]
        torch.testing.assert_close(plain, found["eager", False][0], **tolerance)
        assert torch.equal(plain, with_statistics)
        assert torch.equal(one.theta, other.theta)
        assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)


@pytest.mark.parametrize(
    ("native", "functions"),
    # The gradient; without C++ also norm, update, update with its change, statistics.
    [(True, 1), (False, 5)],
)
def test_a_pack_of_all_schedules_is_compiled_once_and_never_again(
    native: bool, functions: int
) -> None:
    torch._dynamo.reset()
    counters.clear()
    arena = arena_of(PROBLEM, configs_of("adam"), 100, capacity=16)
    step = Step(arena, gradient, compiled=True, native=native)
    for row in arena.coefficients(3):
        step.plain(row)
        step.sampled(row)
    first = counters["stats"]["unique_graphs"]
    assert first == functions
    arena.advance(3)
    arena.clear(2)
    arena.start(2, PROBLEM.start, parse({"optimizer": "adamw", "lr": 0.3, "amsgrad": True}), 7)
    arena.start(14, PROBLEM.start, parse({"optimizer": "adam", "eps_hat": True}), 50)
    arena.move(3, 15)
    for row in arena.coefficients(5):
        step.plain(row)
        step.sampled(row)
    assert counters["stats"]["unique_graphs"] == first
    assert torch.isfinite(arena.theta).all()


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_statistics_are_what_their_names_say(optimizer: str) -> None:
    problem = quadratic()
    config = {"optimizer": optimizer, "lr": 1e-2, "weight_decay": 0.1, "clip_norm": 0.5}
    config |= {"eps": 0.5} if optimizer != "sgd" else {}
    arena = arena_of(problem, [config], 10, keep_update=True)
    step = Step(arena, problem.gradient, compiled=False)
    points = [arena.theta[0].clone()]
    for row in arena.coefficients(3):
        grad = problem.gradient(arena.theta)[0][0]
        loss, found = step.sampled(row)
        points.append(arena.theta[0].clone())
    said = dict(zip(NAMES, found[:, 0].tolist(), strict=True))
    before, change = points[1] - points[2], points[2] - points[3]
    assert loss.item() == pytest.approx(problem.loss(points[2]).item())
    assert said["grad_norm"] == pytest.approx(grad.norm().item())
    assert said["update_rms"] == pytest.approx(change.square().mean().sqrt().item())
    assert said["param_norm"] == pytest.approx(points[3].norm().item())
    cosine = torch.nn.functional.cosine_similarity(change, before, dim=0)
    assert said["update_cosine"] == pytest.approx(cosine.item())
    if optimizer == "sgd":
        assert math.isnan(said["eps_dominance"]) and math.isnan(said["grad_surprise"])
        return
    second = arena.state["exp_avg_sq" if optimizer == "adam" else "square_avg"][0]
    root = (second / (1 - 0.999**3) if optimizer == "adam" else second).sqrt()
    assert said["eps_dominance"] == pytest.approx((root < 0.5).double().mean().item())
    ratio = grad / root.clamp(min=0.5)
    assert said["grad_surprise"] == pytest.approx(ratio.square().mean().sqrt().item())


def test_without_the_update_before_there_is_no_cosine() -> None:
    arena = arena_of(PROBLEM, [{"optimizer": "adam"}], 10)
    _, found = Step(arena, gradient, compiled=False).sampled(arena.coefficients(1)[0])
    assert math.isnan(found[NAMES.index("update_cosine"), 0])
