"""Settings to export, and the small problem on which exported scripts are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sweeper.optim.configuration import parse
from sweeper.optim.own_loop import make_optimizer

STEPS = 200
_MASK = ["bias", "norm"]
_WARM = {"kind": "constant", "warmup": {"steps": 10}}
_COSINE = {"kind": "cosine", "warmup": 0.05, "final": 0.1}
_CYCLE = {"kind": "onecycle", "pct_start": 0.4, "cycle_momentum": False}
_TRIANGLE = {"kind": "cyclical", "step_size_up": {"steps": 15}, "cycle_momentum": False}

CASES: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "lr": 0.02},
    "adam_l2": {"optimizer": "adam", "lr": 0.02, "weight_decay": 0.1, "eps": 0.05},
    "adam_l2_mask": {"optimizer": "adam", "lr": 0.02, "weight_decay": 0.1, "no_decay": _MASK},
    "adam_large_eps": {"optimizer": "adam", "lr": 0.05, "eps": 0.3, "betas": [0.8, 0.95]},
    "adam_eps_hat": {"optimizer": "adam", "lr": 0.02, "eps": 0.01, "eps_hat": True},
    "adam_eps_hat_l2": {
        "optimizer": "adam", "lr": 0.02, "eps": 0.01, "eps_hat": True, "amsgrad": True,
        "weight_decay": 0.1, "no_decay": ["bias"],
    },
    "amsgrad": {"optimizer": "adam", "lr": 0.05, "amsgrad": True, "betas": [0.9, 0.9]},
    "amsgrad_eps_hat": {
        "optimizer": "adamw", "lr": 0.05, "eps": 0.1, "amsgrad": True, "eps_hat": True,
    },
    "adamw": {"optimizer": "adamw", "lr": 0.02, "weight_decay": 0.3},
    "adamw_mask": {
        "optimizer": "adamw", "lr": 0.02, "weight_decay": 0.3, "no_decay": _MASK,
        "schedule": _COSINE,
    },
    "adamw_bias": {"optimizer": "adamw", "lr": 0.02, "weight_decay": 0.3, "no_decay": ["bias"]},
    "adamw_pattern": {
        "optimizer": "adamw", "lr": 0.02, "weight_decay": 0.3, "no_decay": ["dense.*"],
    },
    "adamw_no_decay_at_all": {"optimizer": "adamw", "lr": 0.02, "weight_decay": 0},
    "nadam": {"optimizer": "nadam", "lr": 0.02, "schedule": _WARM},
    "nadam_decoupled": {
        "optimizer": "nadam", "lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True,
    },
    "radam": {"optimizer": "radam", "lr": 0.02, "eps": 0.01},
    "radam_l2": {"optimizer": "radam", "lr": 0.02, "weight_decay": 0.1, "betas": [0.9, 0.5]},
    "stable_adamw": {
        "optimizer": "stable_adamw", "lr": 0.05, "weight_decay": 0.3, "no_decay": _MASK,
    },
    "stable_adamw_all": {"optimizer": "stable_adamw", "lr": 0.05, "schedule": "cosine"},
    "sgd": {"optimizer": "sgd", "lr": 0.05},
    "sgd_l2": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.1},
    "sgd_momentum_cosine": {
        "optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "schedule": {"kind": "cosine"},
    },
    "sgd_nesterov": {"optimizer": "sgd", "lr": 0.02, "momentum": 0.9, "nesterov": True},
    "sgd_nesterov_wsd": {
        "optimizer": "sgd", "lr": 0.02, "momentum": 0.9, "nesterov": True,
        "schedule": {"kind": "wsd", "warmup": 0.1, "decay": 0.3},
    },
    "sgd_dampening": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "dampening": 0.3},
    "sgdw": {"optimizer": "sgdw", "lr": 0.05, "momentum": 0.8, "no_decay": _MASK},
    "adagrad": {"optimizer": "adagrad", "lr": 0.2, "eps": 0.01, "lr_decay": 0.01},
    "adagrad_initial": {
        "optimizer": "adagrad", "lr": 0.2, "initial_accumulator_value": 0.1, "weight_decay": 0.1,
    },
    "rmsprop": {"optimizer": "rmsprop", "lr": 0.01, "eps": 0.01, "alpha": 0.9},
    "rmsprop_momentum": {
        "optimizer": "rmsprop", "lr": 0.01, "eps": 0.1, "momentum": 0.5, "schedule": _COSINE,
    },
    "rmsprop_centered": {"optimizer": "rmsprop", "lr": 0.01, "eps": 0.1, "centered": True},
    "adai": {"optimizer": "adai", "lr": 0.05, "weight_decay": 0.1},
    "adaiw": {"optimizer": "adaiw", "lr": 0.05, "weight_decay": 0.1, "no_decay": ["norm"]},
    "lion": {"optimizer": "lion", "lr": 0.003},
    "lion_decay": {
        "optimizer": "lion", "lr": 0.003, "weight_decay": 0.5, "no_decay": _MASK,
        "schedule": _COSINE,
    },
    "lion_sign_of_gradient": {"optimizer": "lion", "lr": 0.003, "betas": [0.0, 0.99]},
    "clip_norm": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "clip_norm": 0.5},
    "clip_norm_l2": {"optimizer": "adam", "lr": 0.02, "weight_decay": 0.1, "clip_norm": 0.5},
    "clip_value": {"optimizer": "sgd", "lr": 0.05, "clip_value": 0.2},
    "warmup": {"optimizer": "adam", "lr": 0.02, "schedule": _WARM},
    "step": {"optimizer": "adam", "lr": 0.02, "schedule": {"kind": "step", "gamma": 0.3}},
    "multistep": {
        "optimizer": "adam", "lr": 0.02,
        "schedule": {"kind": "multistep", "warmup": 0.05, "milestones": [0.5, {"steps": 150}]},
    },
    "exponential": {
        "optimizer": "adam", "lr": 0.02, "schedule": {"kind": "exponential", "gamma": 0.99},
    },
    "polynomial": {
        "optimizer": "adam", "lr": 0.02,
        "schedule": {"kind": "polynomial", "power": 2.0, "final": 0.1, "warmup": {"steps": 1}},
    },
    "linear": {"optimizer": "adamw", "lr": 0.02, "weight_decay": 0, "schedule": "polynomial"},
    "cosine": {"optimizer": "adam", "lr": 0.02, "schedule": "cosine"},
    "inverse_sqrt": {
        "optimizer": "adam", "lr": 0.02, "schedule": {"kind": "inverse_sqrt", "warmup": 0.1},
    },
    "wsd_cosine": {
        "optimizer": "adam", "lr": 0.02, "schedule": {"kind": "wsd", "decay_shape": "cosine"},
    },
    "wsd_linear": {
        "optimizer": "adam", "lr": 0.02,
        "schedule": {"kind": "wsd", "decay_shape": "linear", "decay": {"steps": 50}},
    },
    "range_test": {
        "optimizer": "adam", "lr": 0.02, "schedule": {"kind": "range_test", "start": 1e-4},
    },
    "range_test_linear": {
        "optimizer": "adam", "lr": 0.02,
        "schedule": {"kind": "range_test", "shape": "linear", "warmup": {"steps": 5}},
    },
    "cyclical": {"optimizer": "adam", "lr": 0.02, "schedule": _TRIANGLE},
    "cyclical_range": {
        "optimizer": "adam", "lr": 0.02,
        "schedule": {**_TRIANGLE, "mode": "exp_range", "gamma": 0.99, "step_size_down": 0.1},
    },
    "cyclical_momentum": {
        "optimizer": "sgd", "lr": 0.02, "momentum": 0.9,
        "schedule": {**_TRIANGLE, "mode": "triangular2", "cycle_momentum": True},
    },
    "sgdr": {
        "optimizer": "adam", "lr": 0.02, "schedule": {"kind": "sgdr", "T_0": 0.1, "T_mult": 1.5},
    },
    "onecycle": {"optimizer": "adam", "lr": 0.02, "schedule": _CYCLE},
    "onecycle_beta1": {
        "optimizer": "adamw", "lr": 0.02,
        "schedule": {**_CYCLE, "cycle_momentum": True, "three_phase": True},
    },
}  # fmt: skip


def found(config: dict[str, Any], steps: int = STEPS) -> dict[str, Any]:
    """A recommendation of a setting, as SweepHandle.recommendation gives it."""
    return {
        "schema": 1,
        "sweep": "small",
        "recommended": True,
        "reason": None,
        "config": parse(config).to_dict(),
        "proven": {
            "task": "my_module:build",
            "task_args": {"hidden": 8},
            "horizon": steps,
            "searched_horizon": 50,
            "seeds": [0, 1],
            "stress_seeds": [2, 3, 4],
            "dtype": "float32",
            "stress_tested": True,
        },
        "evidence": {"trial": 17, "failure_fraction": 0.0, "tail_loss": 1.25e-9},
        "trials": 40,
        "mlflow": {"experiment": "small", "filter": "tags.`sweeper.trial` = '17'"},
        "versions": {"sweeper": "0.1.0"},
    }


class Problem(nn.Module):
    """A quadratic in the parameters of two layers, with a gradient that differs by step."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 3).double()
        self.norm = nn.LayerNorm(3).double()
        values = starts()
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(torch.as_tensor(values[name]))

    def forward(self, step: Tensor) -> Tensor:
        """The loss at a step."""
        parts = []
        for place, parameter in enumerate(self.parameters()):
            stiff = torch.as_tensor(stiffness(place, tuple(parameter.shape)))
            push = torch.as_tensor(pushes(place, tuple(parameter.shape)))
            wave = torch.sin(step.double().squeeze() * push)
            parts.append((stiff * parameter**2 / 2 + wave * parameter).sum())
        return torch.stack(parts).sum()

    def vector(self) -> np.ndarray:
        """All parameters."""
        return np.concatenate([p.detach().numpy().ravel() for p in self.parameters()])


NAMES = {"dense.weight": (3, 4), "dense.bias": (3,), "norm.weight": (3,), "norm.bias": (3,)}


def starts() -> dict[str, np.ndarray]:
    """Parameters at the start, by torch's names."""
    return {
        name: 1 + np.cos(np.arange(math.prod(shape)) + place).reshape(shape)
        for place, (name, shape) in enumerate(NAMES.items())
    }


def stiffness(place: int, shape: tuple[int, ...]) -> np.ndarray:
    """Second derivatives of a parameter, from 0.1 to 3."""
    count = np.arange(math.prod(shape), dtype=float)
    return (0.1 + 2.9 * ((count * 0.37 + 0.2 * place) % 1)).reshape(shape)


def pushes(place: int, shape: tuple[int, ...]) -> np.ndarray:
    """Frequencies of the gradient's wave."""
    count = np.arange(math.prod(shape), dtype=float)
    return (0.3 + 0.1 * place + 0.05 * count).reshape(shape)


def reference(case: str) -> np.ndarray:
    """Parameters after STEPS steps of sweeper's own optimizer."""
    problem = Problem()
    train(problem, *make_optimizer(problem, CASES[case], STEPS))
    return problem.vector()


def train(
    problem: Problem, optimizer: Any, scheduler: Any, clip: Mapping[str, Any] | None = None
) -> None:
    """An ordinary loop; it clips by `clip_norm` and `clip_value` of `clip`."""
    clip = clip or {}
    for step in range(STEPS):
        optimizer.zero_grad()
        problem(torch.tensor(step)).backward()
        if "clip_norm" in clip:
            nn.utils.clip_grad_norm_(problem.parameters(), clip["clip_norm"])
        if "clip_value" in clip:
            nn.utils.clip_grad_value_(problem.parameters(), clip["clip_value"])
        optimizer.step()
        scheduler.step()


def run_text(text: str) -> dict[str, Any]:
    """The names that an exported script defines."""
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(text, "exported.py", "exec"), names)
    return names


def distance(case: str, vector: np.ndarray) -> float:
    """Largest deviation from the reference, relative to the largest parameter."""
    wanted = reference(case)
    assert np.abs(wanted - np.concatenate([v.ravel() for v in starts().values()])).max() > 1e-2
    return float(np.abs(vector - wanted).max() / np.abs(wanted).max())
