"""Update rules against torch.optim in float64, K configurations at once against each alone."""

import math

import pytest
import torch
from torch import Tensor

from sweeper.optim.arena import Arena
from sweeper.optim.configuration import Configuration, parse
from sweeper.optim.rules import RULES
from sweeper.optim.step import make_step

STEPS, SIZE = 1000, 12

CONFIGS = {
    "adam": [
        {"optimizer": "adam", "lr": 1e-2, "eps": 0.1},
        {"optimizer": "adam", "lr": 3e-3, "betas": [0.8, 0.99], "eps": 1e-3},
        {"optimizer": "adam", "lr": 1e-2, "betas": [0.0, 0.9], "eps": 1.0},
        {"optimizer": "adam", "lr": 1e-2, "weight_decay": 0.1, "eps": 0.1},
        {"optimizer": "adam", "lr": 1e-2, "amsgrad": True, "eps": 1e-8},
        {"optimizer": "adamw", "lr": 1e-2, "weight_decay": 0.3, "eps": 0.1},
        {"optimizer": "adamw", "lr": 1e-2, "amsgrad": True, "eps": 1e-4},
    ],
    "sgd": [
        {"optimizer": "sgd", "lr": 1e-2},
        {"optimizer": "sgd", "lr": 1e-2, "momentum": 0.9},
        {"optimizer": "sgd", "lr": 3e-3, "momentum": 0.5, "weight_decay": 0.1},
    ],
}


def problem() -> tuple[Tensor, Tensor]:
    """A least-squares problem with eigenvalues from 0.1 to 5: stable for all of CONFIGS."""
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64))
    hessian = basis @ torch.diag(torch.linspace(0.1, 5, SIZE, dtype=torch.float64)) @ basis.T
    start = torch.randn(SIZE, generator=generator, dtype=torch.float64)
    return hessian, start


def torch_optimizer(configuration: Configuration, theta: Tensor) -> torch.optim.Optimizer:
    values = configuration.values
    if configuration.rule == "sgd":
        return torch.optim.SGD(
            [theta], lr=values["lr"], momentum=values["momentum"],
            weight_decay=values["weight_decay"],
        )  # fmt: skip
    kind = torch.optim.AdamW if configuration.optimizer == "adamw" else torch.optim.Adam
    return kind(
        [theta], lr=values["lr"], betas=(values["beta1"], values["beta2"]), eps=values["eps"],
        weight_decay=values["weight_decay"], amsgrad=values["amsgrad"],
    )  # fmt: skip


def torch_trajectory(configuration: Configuration) -> Tensor:
    hessian, start = problem()
    theta = start.clone().requires_grad_()
    optimizer = torch_optimizer(configuration, theta)
    points = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        (theta @ hessian @ theta / 2).backward()
        optimizer.step()
        points.append(theta.detach().clone())
    return torch.stack(points)


def packed_trajectories(rule: str, configs: list[Configuration], horizon: int = STEPS) -> Tensor:
    hessian, start = problem()
    arena = Arena.empty(
        RULES[rule], len(configs), SIZE, dtype=torch.float64, device=torch.device("cpu")
    )
    for slot, configuration in enumerate(configs):
        arena.start(slot, start, configuration, horizon)

    def gradient(theta: Tensor) -> tuple[Tensor, Tensor]:
        grad = theta @ hessian
        return grad, (theta * grad).sum(1) / 2

    step = make_step(arena, gradient, compiled=False)
    points = []
    for _ in range(STEPS):
        step()
        points.append(arena.theta.clone())
    return torch.stack(points, dim=1)


@pytest.mark.parametrize("rule", list(CONFIGS))
def test_packed_rows_follow_torch_optim(rule: str) -> None:
    configs = [parse(config) for config in CONFIGS[rule]]
    ours = packed_trajectories(rule, configs)
    for row, configuration in enumerate(configs):
        # Equal formulas, another order of operations: a few ulp a step, damped by the problem.
        torch.testing.assert_close(
            ours[row], torch_trajectory(configuration), rtol=1e-9, atol=1e-13
        )


@pytest.mark.parametrize(
    ("special", "plain"),
    [
        ({"optimizer": "adamw", "weight_decay": 0.0}, {"optimizer": "adam"}),
        ({"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}, {"optimizer": "sgd"}),
    ],
)
def test_reductions_are_exact(special: dict[str, object], plain: dict[str, object]) -> None:
    configs = [parse({**special, "lr": 1e-2}), parse({**plain, "lr": 1e-2})]
    rows = packed_trajectories(configs[0].rule, configs)
    assert torch.equal(rows[0], rows[1])


@pytest.mark.parametrize("rule", list(CONFIGS))
def test_a_row_is_frozen_at_its_horizon(rule: str) -> None:
    rows = packed_trajectories(rule, [parse(CONFIGS[rule][1])], horizon=10)
    assert not torch.equal(rows[0, 8], rows[0, 9])
    assert torch.equal(rows[0, 9], rows[0, -1])


@pytest.mark.parametrize("rule", list(CONFIGS))
@pytest.mark.parametrize("value", [0.0, 1e200, 5e-324, float("nan"), float("inf")])
def test_an_odd_gradient_stays_in_its_row(rule: str, value: float) -> None:
    configs = [parse(config) for config in CONFIGS[rule][:3]]
    arena = Arena.empty(RULES[rule], 3, SIZE, dtype=torch.float64, device=torch.device("cpu"))
    for slot, configuration in enumerate(configs):
        arena.start(slot, torch.ones(SIZE), configuration, 10)

    def gradient(theta: Tensor) -> tuple[Tensor, Tensor]:
        grad = theta.clone()
        grad[1] = value
        return grad, grad.sum(1)

    step = make_step(arena, gradient, compiled=False)
    for _ in range(3):
        step()
    assert torch.isfinite(arena.theta[[0, 2]]).all()
    assert bool(torch.isfinite(arena.theta[1]).all()) == math.isfinite(value)


def test_series_are_loss_gradient_norm_update_rms_and_lr() -> None:
    hessian, start = problem()
    configuration = parse({"optimizer": "sgd", "lr": 0.01})
    arena = Arena.empty(RULES["sgd"], 1, SIZE, dtype=torch.float64, device=torch.device("cpu"))
    arena.start(0, start, configuration, 5)
    step = make_step(arena, lambda theta: (theta @ hessian, theta.sum(1)), compiled=False)
    loss, grad_norm, update_rms, lr = step()[:, 0].tolist()
    grad = start @ hessian
    assert loss == pytest.approx(start.sum().item())
    assert grad_norm == pytest.approx(grad.norm().item())
    assert update_rms == pytest.approx(0.01 * grad.norm().item() / SIZE**0.5)
    assert lr == 0.01
