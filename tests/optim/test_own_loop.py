"""`make_optimizer`: a configuration as an ordinary optimizer and scheduler."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from packs import packed
from problems import network
from references import all_float64, cases
from torch import Tensor, nn

from sweeper.errors import SweepError
from sweeper.optim import make_optimizer
from sweeper.optim.rule_optimizer import RuleOptimizer

STEPS = 60
SCHEDULE = {"kind": "onecycle", "warmup": 0.1}
TORCH = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
}


@all_float64()
def own_loop(config: dict[str, Any], *, reload_at: int | None = None) -> Tensor:
    """Parameters after every step of a plain loop; its state goes through a file on the way."""
    problem = network()
    params = [nn.Parameter(part.clone()) for part in problem.start.split(problem.sizes)]
    optimizer, scheduler = make_optimizer(params, config, STEPS)
    points = []
    for step in range(STEPS):
        if step == reload_at:
            file = io.BytesIO()
            torch.save([optimizer.state_dict(), scheduler.state_dict()], file)
            file.seek(0)
            params = [nn.Parameter(param.detach().clone()) for param in params]
            optimizer, scheduler = make_optimizer(params, config, STEPS)
            saved = torch.load(file, weights_only=True)
            optimizer.load_state_dict(saved[0])
            scheduler.load_state_dict(saved[1])
        optimizer.zero_grad()
        problem.loss(torch.cat(params)).backward()
        optimizer.step()
        scheduler.step()
        points.append(torch.cat([param.detach().clone() for param in params]))
    return torch.stack(points)


@pytest.mark.parametrize("name", sorted(cases()))
def test_it_means_what_a_row_of_a_pack_means(name: str) -> None:
    config = {**cases()[name][0], "schedule": SCHEDULE, "clip_norm": 0.5}
    (row,) = packed(network(), [config], STEPS)
    # The same formulas in another order of operations.
    torch.testing.assert_close(own_loop(config), row, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(cases()))
def test_its_state_is_plain_and_goes_on(name: str) -> None:
    config = {**cases()[name][0], "schedule": SCHEDULE}
    assert torch.equal(own_loop(config, reload_at=25), own_loop(config))


@pytest.mark.parametrize("name", sorted(cases()))
def test_torch_s_own_class_is_taken_where_it_means_the_same(name: str) -> None:
    config = cases()[name][0]
    optimizer, _ = make_optimizer([nn.Parameter(torch.zeros(3))], config, 10)
    expected: type = TORCH.get(config["optimizer"], RuleOptimizer)
    if config.get("eps_hat"):
        expected = RuleOptimizer
    assert type(optimizer) is expected


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        self.head = nn.Linear(4, 1)


def free_of_decay(config: dict[str, Any], params: Any) -> set[str]:
    model = Model() if params is None else params
    optimizer, _ = make_optimizer(model, config, 10)
    free = {
        id(parameter)
        for group in optimizer.param_groups
        if group["weight_decay"] == 0
        for parameter in group["params"]
    }
    return {name for name, parameter in model.named_parameters() if id(parameter) in free}


@pytest.mark.parametrize("optimizer", ["adamw", "lion"])
def test_groups_without_weight_decay(optimizer: str) -> None:
    def found(*no_decay: str) -> set[str]:
        config = {"optimizer": optimizer, "weight_decay": 0.1, "no_decay": list(no_decay)}
        return free_of_decay(config, None)

    assert found() == set()
    assert found("bias") == {"body.0.bias", "body.1.bias", "head.bias"}
    assert found("norm") == {"body.1.weight", "body.1.bias"}
    assert found("head.*", "norm") == {"body.1.weight", "body.1.bias", "head.weight", "head.bias"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([], {}, 10), "params: there is no parameter"),
        ((Model(), {"lr": -1}, 10), "lr: -1 is out of range"),
        ((Model(), {}, 0), "total_steps: 0; allowed: an int of steps >= 1"),
        ((Model(), {"schedule": {"kind": "constant", "warmup": {"steps": 11}}}, 10), "at most 10"),
        ((Model(), {"no_decay": ["haed.*"]}, 10), "no parameter matches 'haed.*'"),
        ((Model().parameters(), {"no_decay": ["bias"]}, 10), "parameters without names"),
        ((Model().named_parameters(), {"no_decay": ["norm"]}, 10), "Pass the model"),
    ],
)
def test_what_is_refused(arguments: tuple[Any, Any, int], says: str) -> None:
    with pytest.raises(SweepError) as caught:
        make_optimizer(*arguments)
    assert says in str(caught.value)


def test_groups_that_differ_in_more_than_decay_are_refused() -> None:
    param = nn.Parameter(torch.zeros(3))
    optimizer, _ = make_optimizer([param, nn.Parameter(torch.zeros(2))], {"optimizer": "lion"}, 5)
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 1.0})
    param.grad = torch.ones(3)
    with pytest.raises(ValueError, match="groups differ in lr"):
        optimizer.step()


def test_parameters_without_a_gradient_are_left_alone() -> None:
    params = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))]
    optimizer, _ = make_optimizer(params, {"optimizer": "adai"}, 5)
    params[0].grad = torch.ones(3)
    optimizer.step()
    assert (params[0] < 1).all()
    assert (params[1] == 1).all()
    assert params[1] not in optimizer.state


def test_a_closure_is_called_and_its_loss_returned() -> None:
    param = nn.Parameter(torch.ones(3))
    optimizer, _ = make_optimizer([param], {"optimizer": "lion"}, 5)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (param**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 3
    assert (param < 1).all()


@pytest.mark.parametrize("name", ["sgd", "lion"])
@pytest.mark.parametrize("by_keyword", [False, True])
def test_gradients_of_a_closure_are_clipped(name: str, by_keyword: bool) -> None:
    """Lightning computes them within the step. sgd is torch's own class, lion is ours."""
    config = {"optimizer": name, "lr": 0.1, "clip_norm": 0.5}
    found = []
    for with_closure in (False, True):
        weight = torch.nn.Parameter(torch.tensor([3.0, -4.0], dtype=torch.float64))
        optimizer, scheduler = make_optimizer([weight], config, total_steps=5)

        def closure(weight: torch.nn.Parameter = weight) -> torch.Tensor:
            weight.grad = None
            loss = (weight**2).sum()
            loss.backward()
            return loss

        for _ in range(5):
            if not with_closure:
                closure()
                optimizer.step()
            elif by_keyword:
                assert optimizer.step(closure=closure).item() > 0
            else:
                assert optimizer.step(closure).item() > 0
            scheduler.step()
        found.append(weight.detach().clone())
        if name == "sgd" and not with_closure:
            # Five steps of length lr * clip_norm along the gradient, which points to 0.
            expected = 5 - 5 * 0.1 * 0.5
            assert abs(float(weight.detach().norm()) - expected) < 1e-5
    assert torch.equal(*found)
