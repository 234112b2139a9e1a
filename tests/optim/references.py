"""The same optimizers by other hands: torch.optim, pytorch_optimizer, or a paper's formula."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

Make = Callable[[list[Tensor]], Any]
Case = tuple[dict[str, Any], Make]


class ByHand:
    """An optimizer that is one formula; `update` changes the parameters of step t in place."""

    def __init__(self, params: list[Tensor], update: Callable[..., None], **settings: Any) -> None:
        self.params, self.update, self.settings = params, update, settings
        self.state: dict[str, Any] = {}
        self.t = 0

    def zero_grad(self) -> None:
        for param in self.params:
            param.grad = None

    @torch.no_grad()
    def step(self) -> None:
        self.t += 1
        grads = [param.grad for param in self.params]
        self.update(self.params, grads, self.state, self.t, **self.settings)


def eps_hat_adam(
    params: list[Tensor], grads: list[Tensor], state: dict[str, Any], t: int, *,
    lr: float, beta1: float, beta2: float, eps: float,
) -> None:  # fmt: skip
    """TensorFlow and Keras: lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)."""
    for place, (param, grad) in enumerate(zip(params, grads, strict=True)):
        m, v = state.setdefault(place, (torch.zeros_like(param), torch.zeros_like(param)))
        m = beta1 * m + (1 - beta1) * grad
        v = beta2 * v + (1 - beta2) * grad**2
        state[place] = m, v
        param -= lr * (1 - beta2**t) ** 0.5 / (1 - beta1**t) * m / (v.sqrt() + eps)


def official_adai(
    params: list[Tensor], grads: list[Tensor], state: dict[str, Any], t: int, *,
    lr: float, beta0: float, beta2: float, eps: float, weight_decay: float, decoupled: bool,
) -> None:  # fmt: skip
    """Xie et al. 2022, Algorithms 2 and 3, as the paper writes them."""
    hats = []
    for place, param in enumerate(params):
        m, v, product = state.setdefault(
            place, (torch.zeros_like(param), torch.zeros_like(param), torch.ones_like(param))
        )
        if decoupled:
            param *= 1 - lr * weight_decay
        else:
            grads[place] = grads[place] + weight_decay * param
        v = beta2 * v + (1 - beta2) * grads[place] ** 2
        state[place] = m, v, product
        hats.append(v / (1 - beta2**t))
    mean = torch.cat([hat.flatten() for hat in hats]).mean()
    for place, (param, hat) in enumerate(zip(params, hats, strict=True)):
        m, v, product = state[place]
        beta1 = (1 - beta0 * hat / mean).clamp(0, 1 - eps)
        m = beta1 * m + (1 - beta1) * grads[place]
        product = product * beta1
        state[place] = m, v, product
        param -= lr * m / (1 - product)


def by_hand(update: Callable[..., None], **settings: Any) -> Make:
    return lambda params: ByHand(params, update, **settings)


def of(kind: Callable[..., Any], **settings: Any) -> Make:
    return lambda params: kind(params, **settings)


def of_other(kind: str, **settings: Any) -> Make:
    """Of pytorch_optimizer; a bare GPU machine (torch, numpy, pytest) skips these cases."""
    return lambda params: getattr(pytest.importorskip("pytorch_optimizer"), kind)(
        params, **settings
    )


def cases(scale: float = 1.0) -> dict[str, Case]:
    """Configurations and their references, with learning rates times `scale`."""
    lr = 1e-2 * scale
    adai = {"lr": lr, "beta0": 0.1, "beta2": 0.99, "eps": 1e-3, "weight_decay": 0.01}
    return {
        "adam": (
            {"optimizer": "adam", "lr": lr, "eps": 0.1},
            of(torch.optim.Adam, lr=lr, eps=0.1),
        ),
        "adam betas": (
            {"optimizer": "adam", "lr": lr, "betas": [0.0, 0.9], "eps": 1.0},
            of(torch.optim.Adam, lr=lr, betas=(0.0, 0.9), eps=1.0),
        ),
        "adam l2": (
            {"optimizer": "adam", "lr": lr, "weight_decay": 0.1, "eps": 0.1},
            of(torch.optim.Adam, lr=lr, weight_decay=0.1, eps=0.1),
        ),
        "amsgrad": (
            {"optimizer": "adam", "lr": lr, "amsgrad": True},
            of(torch.optim.Adam, lr=lr, amsgrad=True),
        ),
        "adamw": (
            {"optimizer": "adamw", "lr": lr, "weight_decay": 0.3, "eps": 0.1},
            of(torch.optim.AdamW, lr=lr, weight_decay=0.3, eps=0.1),
        ),
        "eps_hat": (
            {"optimizer": "adam", "lr": lr, "eps": 0.1, "eps_hat": True},
            by_hand(eps_hat_adam, lr=lr, beta1=0.9, beta2=0.999, eps=0.1),
        ),
        "nadam": (
            {"optimizer": "nadam", "lr": lr, "eps": 0.1},
            of(torch.optim.NAdam, lr=lr, eps=0.1),
        ),
        "nadam decoupled": (
            {
                "optimizer": "nadam", "lr": lr, "eps": 0.1, "weight_decay": 0.1,
                "momentum_decay": 0.1, "decoupled_weight_decay": True,
            },
            of(
                torch.optim.NAdam, lr=lr, eps=0.1, weight_decay=0.1, momentum_decay=0.1,
                decoupled_weight_decay=True,
            ),
        ),
        "radam": (
            {"optimizer": "radam", "lr": lr, "eps": 0.1, "weight_decay": 0.1},
            of(torch.optim.RAdam, lr=lr, eps=0.1, weight_decay=0.1),
        ),
        "radam never rectified": (
            {"optimizer": "radam", "lr": lr, "betas": [0.9, 0.5]},
            of(torch.optim.RAdam, lr=lr, betas=(0.9, 0.5)),
        ),
        "stable_adamw": (
            {"optimizer": "stable_adamw", "lr": lr, "eps": 0.1, "weight_decay": 0.1},
            of_other("StableAdamW", lr=lr, eps=0.1, weight_decay=0.1),
        ),
        "sgd": ({"optimizer": "sgd", "lr": lr}, of(torch.optim.SGD, lr=lr)),
        "momentum": (
            {
                "optimizer": "sgd", "lr": lr, "momentum": 0.9, "dampening": 0.5,
                "weight_decay": 0.1,
            },
            of(torch.optim.SGD, lr=lr, momentum=0.9, dampening=0.5, weight_decay=0.1),
        ),
        "nesterov": (
            {"optimizer": "sgd", "lr": lr, "momentum": 0.9, "nesterov": True},
            of(torch.optim.SGD, lr=lr, momentum=0.9, nesterov=True),
        ),
        "dampening alone": (
            {"optimizer": "sgd", "lr": lr, "dampening": 0.5},
            of(torch.optim.SGD, lr=lr, dampening=0.5),
        ),
        "sgdw": (
            {"optimizer": "sgdw", "lr": lr, "momentum": 0.9, "weight_decay": 0.1},
            of_other(
                "SGDW", lr=lr, momentum=0.9, weight_decay=0.1, weight_decouple=True,
            ),
        ),
        "adagrad": (
            {
                "optimizer": "adagrad", "lr": 10 * lr, "lr_decay": 0.01,
                "initial_accumulator_value": 0.1, "weight_decay": 0.1,
            },
            of(
                torch.optim.Adagrad, lr=10 * lr, lr_decay=0.01, initial_accumulator_value=0.1,
                weight_decay=0.1,
            ),
        ),
        "rmsprop": (
            {"optimizer": "rmsprop", "lr": lr, "eps": 0.1, "weight_decay": 0.1},
            of(torch.optim.RMSprop, lr=lr, eps=0.1, weight_decay=0.1),
        ),
        "rmsprop centered": (
            {
                "optimizer": "rmsprop", "lr": lr, "alpha": 0.9, "eps": 0.1, "momentum": 0.5,
                "centered": True,
            },
            of(torch.optim.RMSprop, lr=lr, alpha=0.9, eps=0.1, momentum=0.5, centered=True),
        ),
        "adai": (
            {"optimizer": "adai", **adai},
            by_hand(official_adai, **adai, decoupled=False),
        ),
        "adaiw": (
            {"optimizer": "adaiw", **adai},
            by_hand(official_adai, **adai, decoupled=True),
        ),
        "lion": (
            {"optimizer": "lion", "lr": lr / 10, "weight_decay": 0.1},
            of_other("Lion", lr=lr / 10, betas=(0.9, 0.99), weight_decay=0.1),
        ),
    }  # fmt: skip


@contextmanager
def all_float64() -> Iterator[None]:
    """Else torch's NAdam keeps its product of mu in float32, whatever the parameters are."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def trajectory(make: Make, start: Tensor, sizes: tuple[int, ...], loss: Any, steps: int) -> Tensor:
    """Parameters after every step, `[steps, P]`."""
    params = [part.clone().requires_grad_() for part in start.split(sizes)]
    optimizer = make(params)
    points = []
    with all_float64():
        for _ in range(steps):
            optimizer.zero_grad()
            loss(torch.cat(params)).backward()
            optimizer.step()
            points.append(torch.cat([param.detach() for param in params]))
    return torch.stack(points)
