"""Thresholds against known numbers, the spectral radius of the recurrence, and real runs."""

from typing import Any

import numpy as np
import pytest
import torch

from sweeper.optim.arena import Arena
from sweeper.optim.coefficients import Row, names, table
from sweeper.optim.configuration import parse
from sweeper.optim.rules import RULES
from sweeper.optim.step import Step
from sweeper.stability import course
from sweeper.stability.threshold import no_threshold, threshold

LATE = 10**7  # updates after which momenta and rectification are what they end at


def edge(step: int = LATE, horizon: int = 1000, **config: Any) -> float:
    return float(threshold(parse(config), horizon, np.array([float(step)]))[0])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"optimizer": "adam"}, 38.0),
        ({"optimizer": "adam", "betas": [0.0, 0.999]}, 2.0),
        ({"optimizer": "adam", "betas": [0.95, 0.999]}, 78.0),
        ({"optimizer": "stable_adamw", "weight_decay": 0.0}, 38.0),
        ({"optimizer": "radam"}, 38.0),
        ({"optimizer": "nadam"}, 2 / (0.9 * 0.1 / 1.9 + 0.1)),  # 13.6
        ({"optimizer": "sgd"}, 2.0),
        ({"optimizer": "sgd", "momentum": 0.9}, 3.8),
        ({"optimizer": "sgd", "momentum": 0.9, "dampening": 0.9}, 38.0),
        ({"optimizer": "sgd", "dampening": 0.5}, 2.0),
        ({"optimizer": "sgd", "momentum": 0.9, "nesterov": True}, 3.8 / 2.8),  # 1.357
        ({"optimizer": "rmsprop"}, 2.0),
        ({"optimizer": "rmsprop", "momentum": 0.9}, 3.8),
        ({"optimizer": "adagrad"}, 2.0),
        ({"optimizer": "adagrad", "lr_decay": 0.1}, 2 + 0.2 * LATE),
        ({"optimizer": "sgdw", "lr": 0.1, "weight_decay": 0.5}, 1.95),
    ],
)
def test_known_numbers(config: dict[str, Any], expected: float) -> None:
    assert edge(**config) == pytest.approx(expected, rel=1e-12)


def test_nadam_starts_low() -> None:
    assert edge(0, optimizer="nadam") == pytest.approx(3.49, abs=0.01)


def test_nothing_moves_with_a_dampening_of_1() -> None:
    assert edge(optimizer="sgd", momentum=0.9, dampening=1.0) == np.inf


@pytest.mark.parametrize("name", ["lion", "adai", "adaiw"])
def test_some_have_none(name: str) -> None:
    assert no_threshold(parse({"optimizer": name}))
    assert np.isnan(edge(optimizer=name))
    assert no_threshold(parse({"optimizer": "adam"})) is None


def radius(config: dict[str, Any], sharpness: float, t: int) -> float:
    """Spectral radius of one step on x^2 / 2, with the coefficients of its t-th step."""
    values: dict[str, Any] = parse(config).values
    shrunk = 1 - values["lr"] * values["weight_decay"] * config["optimizer"].endswith("w")
    if "beta1" in values:  # state (x, m)
        b = values["beta1"]
        m = np.array([1 - b, b])
        g, weight = np.array([1.0, 0.0]), (0.0, 1.0)
        if config["optimizer"] == "nadam":
            mu = [b * (1 - 0.5 * 0.96 ** (n * values["momentum_decay"])) for n in (t, t + 1)]
            weight = (1 - mu[0], mu[1])
        move = weight[0] * g + weight[1] * m
        matrix = np.array([[shrunk, 0.0] - sharpness * move, m])
    else:  # state (x, buffer)
        mu = values.get("momentum", 0.0)
        damped = 1 - values.get("dampening", 0.0)
        buffer = np.array([damped, mu])
        move = np.array([1.0, 0.0]) + mu * buffer if values.get("nesterov") else buffer
        matrix = np.array([[shrunk, 0.0] - sharpness * move, buffer])
    return float(np.abs(np.linalg.eigvals(matrix)).max())


@pytest.mark.parametrize("momentum", [0.05, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    ("config", "t"),
    [
        ({"optimizer": "adam"}, 1000),
        ({"optimizer": "adamw", "lr": 0.5, "weight_decay": 0.3}, 1000),
        ({"optimizer": "nadam"}, 1),
        ({"optimizer": "nadam"}, 5000),
        ({"optimizer": "sgd"}, 1000),
        ({"optimizer": "sgd", "dampening": 0.3}, 1000),
        ({"optimizer": "sgd", "nesterov": True}, 1000),
        ({"optimizer": "sgdw", "lr": 0.5, "weight_decay": 0.3}, 1000),
        ({"optimizer": "rmsprop"}, 1000),
    ],
)
def test_it_is_where_the_recurrence_gets_unstable(
    config: dict[str, Any], t: int, momentum: float
) -> None:
    has_betas = "beta1" in parse({"optimizer": config["optimizer"]}).values
    config = {**config, ("beta1" if has_betas else "momentum"): momentum}
    low, high = 0.0, 1e6
    for _ in range(80):
        middle = (low + high) / 2
        is_stable = radius(config, middle, t) <= 1 + 1e-12
        low, high = (middle, high) if is_stable else (low, middle)
    assert edge(t - 1, **config) == pytest.approx(low, rel=1e-6)


# eps far above the gradients is a frozen preconditioner.
@pytest.mark.parametrize(
    "config",
    [
        {"optimizer": "adam", "eps": 1e4},
        {"optimizer": "adam", "eps": 1e4, "beta1": 0.5, "eps_hat": True, "beta2": 0.9},
        {"optimizer": "nadam", "eps": 1e4, "momentum_decay": 1.0},
        {"optimizer": "radam", "eps": 1e4, "beta2": 0.9},
        {"optimizer": "stable_adamw", "eps": 1e4, "weight_decay": 0.0},
        {"optimizer": "rmsprop", "eps": 1e4, "momentum": 0.8},
        {"optimizer": "adagrad", "eps": 1e4},
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
        {"optimizer": "sgd", "momentum": 0.6, "dampening": 0.5},
    ],
)
def test_real_runs_diverge_beyond_it_and_only_there(config: dict[str, Any]) -> None:
    steps = 600
    scale = float(parse(config).values.get("eps", 1.0))
    rule = RULES[parse(config).rule]
    arena = Arena.empty(rule, 2, (1,), dtype=torch.float64, extras=())
    for slot, share in enumerate((0.98, 1.02)):
        run = parse({**config, "lr": share * edge(**config) * scale})
        arena.start(slot, torch.full((1,), 1e-60, dtype=torch.float64), run, steps)
    step = Step(arena, lambda theta: (theta.clone(), theta[:, 0] ** 2 / 2), compiled=False)
    sizes = []
    for row in arena.coefficients(steps):
        step.plain(row)
        sizes.append(arena.theta[:, 0].abs().clone())
    early, late = torch.stack(sizes)[200:300].amax(0), torch.stack(sizes)[-100:].amax(0)
    assert (late < early).tolist() == [True, False]


def test_radam_is_rectified_as_its_rule_has_it() -> None:
    t = np.arange(1.0, 300.0)[:, None]
    columns = {"beta1": np.array([0.9]), "beta2": np.array([0.99]), "eps": np.array([1e-8])}
    with np.errstate(all="ignore"):
        own = RULES["radam"].coefficients(columns, np.ones_like(t), t)
    r = (own["rectified"] * (1 - 0.9**t))[:, 0]
    found = threshold(parse({"optimizer": "radam", "beta2": 0.99}), 300, t[:, 0] - 1)
    assert np.isnan(found).tolist() == (r == 0).tolist()
    assert found[r > 0] == pytest.approx(38 / r[r > 0], rel=1e-12)


def test_cycled_beta1_moves_it() -> None:
    step = np.array([0.0, 299.0, 999.0])
    found = threshold(parse({"optimizer": "adam", "schedule": "onecycle"}), 1000, step)
    assert found == pytest.approx([78.0, 2 * 1.85 / 0.15, 78.0])  # 24.7 at the peak of lr
    held = {"optimizer": "adam", "schedule": {"kind": "onecycle", "cycle_momentum": False}}
    assert threshold(parse(held), 1000, step) == pytest.approx([38.0] * 3)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adagrad"])
@pytest.mark.parametrize(
    "kind",
    [
        "constant",
        "cosine",
        "onecycle",
        "cyclical",
        "sgdr",
        "wsd",
        "inverse_sqrt",
        "multistep",
        "range_test",
    ],
)
def test_the_course_is_that_of_the_coefficients(optimizer: str, kind: str) -> None:
    configuration = parse(
        {"optimizer": optimizer, "lr": 0.3, "schedule": {"kind": kind, "warmup": 0.1}}
    )
    rule = RULES[configuration.rule]
    values = table(rule, [Row(configuration, 200)], 200)[:, :, 0]
    step = np.arange(200.0)
    lr = values[:, names(rule).index("lr")]
    assert course.learning_rate(configuration, 200, step).tolist() == lr.tolist()
    if optimizer == "sgd":
        momentum = values[:, names(rule).index("momentum")]
        assert course.momentum(configuration, 200, step).tolist() == momentum.tolist()
    if optimizer == "adam":
        left = values[:, names(rule).index("beta1_left")]
        assert course.momentum(configuration, 200, step) == pytest.approx(1 - left, rel=1e-14)
