"""Update rules against torch.optim, pytorch_optimizer and the papers, K rows at once, float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from packs import advance, arena_of, packed
from problems import PROBLEMS, normal, quadratic
from references import cases, trajectory

from sweeper.optim.catalog import OPTIMIZERS
from sweeper.optim.configuration import parse
from sweeper.optim.rules import RULES
from sweeper.optim.step import Step

STEPS = 1000
RULE_OF = {name: parse(config).rule for name, (config, _) in cases().items()}
# Equal formulas in another order of operations: some ulp a step, which a stable problem damps and
# a curved valley multiplies.
TOLERANCE = {"quadratic": 1e-9, "rosenbrock": 1e-7, "network": 1e-7}


def test_every_optimizer_has_a_reference() -> None:
    assert {config["optimizer"] for config, _ in cases().values()} == set(OPTIMIZERS)
    assert {one.rule for one in OPTIMIZERS.values()} == set(RULES)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("rule", sorted(RULES))
def test_packed_rows_follow_their_references(rule: str, name: str) -> None:
    problem = PROBLEMS[name]()
    chosen = [case for key, case in cases(problem.lr_scale).items() if RULE_OF[key] == rule]
    rows = packed(problem, [config for config, _ in chosen], STEPS)
    for row, (config, make) in zip(rows, chosen, strict=True):
        expected = trajectory(make, problem.start, problem.sizes, problem.loss, STEPS)
        assert torch.isfinite(expected).all()
        torch.testing.assert_close(
            row, expected, rtol=TOLERANCE[name], atol=1e-12, msg=lambda m, c=config: f"{c}: {m}"
        )


@pytest.mark.parametrize(
    ("special", "plain"),
    [
        ({"optimizer": "adamw", "weight_decay": 0.0}, {"optimizer": "adam"}),
        ({"optimizer": "sgdw", "weight_decay": 0.0}, {"optimizer": "sgd"}),
        ({"optimizer": "adaiw", "weight_decay": 0.0}, {"optimizer": "adai"}),
        ({"optimizer": "sgd", "momentum": 0.0, "dampening": 0.7}, {"optimizer": "sgd"}),
        ({"optimizer": "adam", "clip_norm": 1e9}, {"optimizer": "adam"}),
        ({"optimizer": "adam", "clip_value": 1e9}, {"optimizer": "adam"}),
        ({"optimizer": "adagrad", "lr_decay": 0.0}, {"optimizer": "adagrad"}),
    ],
)
def test_reductions_are_exact(special: dict[str, Any], plain: dict[str, Any]) -> None:
    rows = packed(quadratic(), [{**special, "lr": 1e-2}, {**plain, "lr": 1e-2}], 200)
    assert torch.equal(rows[0], rows[1])


@pytest.mark.parametrize(
    ("config", "direction"),
    [
        # Without averages these are signs, or gradients divided by their own magnitude.
        ({"optimizer": "adam", "betas": [0.0, 0.0], "eps": 0.0}, torch.sign),
        ({"optimizer": "rmsprop", "alpha": 0.0, "eps": 0.0}, torch.sign),
        ({"optimizer": "lion", "betas": [0.0, 0.0]}, torch.sign),
        ({"optimizer": "radam", "betas": [0.0, 0.5]}, lambda grad: grad),
        ({"optimizer": "nadam", "betas": [0.0, 0.0], "eps": 0.0}, torch.sign),
        ({"optimizer": "adai", "beta0": 1e3}, lambda grad: grad),
    ],
)
def test_without_averages(config: dict[str, Any], direction: Any) -> None:
    problem = quadratic()
    grad, _ = problem.gradient(problem.start[None])
    (row,) = packed(problem, [{**config, "lr": 1e-3}], 1)
    expected = problem.start - 1e-3 * direction(grad[0])
    torch.testing.assert_close(row[0], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_row_is_frozen_at_its_horizon(rule: str) -> None:
    config = next(config for name, (config, _) in cases().items() if RULE_OF[name] == rule)
    problem = quadratic()
    arena = arena_of(problem, [config], horizon=10)
    points = advance(problem, arena, 30)[0]
    assert not torch.equal(points[8], points[9])
    assert torch.equal(points[9], points[-1])
    assert arena.rows[0] is not None and arena.rows[0].step == 10


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("value", [0.0, 1e200, 5e-324, math.nan, math.inf])
def test_an_odd_gradient_stays_in_its_row(rule: str, value: float) -> None:
    problem = quadratic()
    config = next(config for name, (config, _) in cases().items() if RULE_OF[name] == rule)
    arena = arena_of(problem, [config] * 3, 10)

    def gradient(theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        grad = theta.clone()
        grad[1] = value
        return grad, grad.sum(1)

    step = Step(arena, gradient, compiled=False)
    for row in arena.coefficients(3):
        step.sampled(row)
    assert torch.isfinite(arena.theta[[0, 2]]).all()
    # Squares of 1e200 overflow: what divides by their mean, or a centred one, has no answer. The
    # sign that Lion takes is finite whatever it is of.
    if rule == "lion":
        assert torch.isfinite(arena.theta).all()
    elif not (value == 1e200 and rule in ("adai", "stable_adamw", "rmsprop")):
        assert bool(torch.isfinite(arena.theta[1]).all()) == math.isfinite(value)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_float32_stays_near_float64(optimizer: str) -> None:
    problem = quadratic()
    exact = packed(problem, [{"optimizer": optimizer, "lr": 1e-3}], 200)
    single = packed(problem, [{"optimizer": optimizer, "lr": 1e-3}], 200, dtype=torch.float32)
    # 200 steps of some rounding errors of 6e-8 each, on parameters of size 1.
    torch.testing.assert_close(single.double(), exact, rtol=2e-4, atol=2e-5)


def test_weight_decay_leaves_out_what_it_is_told_to() -> None:
    problem = quadratic()
    mask = torch.cat([torch.zeros(5), torch.ones(7)])
    config = {"optimizer": "adamw", "lr": 1e-2, "weight_decay": 0.3, "eps": 0.1}
    ours = advance(problem, arena_of(problem, [config], 100, decay_mask=mask), 100)[0]

    def make(params: list[torch.Tensor]) -> torch.optim.Optimizer:
        groups = [
            {"params": params[:1], "weight_decay": 0.0},
            {"params": params[1:], "weight_decay": 0.3},
        ]
        return torch.optim.AdamW(groups, lr=1e-2, eps=0.1)

    expected = trajectory(make, problem.start, problem.sizes, problem.loss, 100)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("limit", [{"clip_norm": 0.5}, {"clip_value": 0.1}])
def test_clipping_is_that_of_torch(limit: dict[str, float]) -> None:
    problem = quadratic()
    free = {"optimizer": "sgd", "lr": 1e-2, "momentum": 0.9}
    ours = packed(problem, [{**free, **limit}, free], 200)

    class Clipped(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            params = self.param_groups[0]["params"]
            if "clip_norm" in limit:
                torch.nn.utils.clip_grad_norm_(params, limit["clip_norm"])
            else:
                torch.nn.utils.clip_grad_value_(params, limit["clip_value"])
            super().step(closure)

    for row, kind in zip(ours, (Clipped, torch.optim.SGD), strict=True):
        expected = trajectory(
            lambda params, kind=kind: kind(params, lr=1e-2, momentum=0.9),
            problem.start, problem.sizes, problem.loss, 200,
        )  # fmt: skip
        torch.testing.assert_close(row, expected, rtol=1e-10, atol=1e-13)


def test_adai_averages_each_row_by_itself() -> None:
    problem = quadratic()
    config = {"optimizer": "adai", "lr": 1e-2}
    arena = arena_of(problem, [config, config], 50)
    arena.theta[1] = 100 * normal(12, seed=9)
    together = advance(problem, arena, 50)[0]
    torch.testing.assert_close(together, packed(problem, [config], 50)[0], rtol=1e-13, atol=0)


def test_adai_survives_gradients_that_are_all_zero() -> None:
    problem = quadratic()
    arena = arena_of(problem, [{"optimizer": "adai", "lr": 1e-2}], 5)
    arena.theta[0] = 0
    assert torch.equal(advance(problem, arena, 5), torch.zeros(1, 5, 12, dtype=torch.float64))
