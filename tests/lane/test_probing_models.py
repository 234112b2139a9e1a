"""Probes of real layers: the sharpness is that of a dense Hessian, or why there is none is said.

The dense one is by torch.autograd.functional.hessian, in float64, of the loss as `task.step` and
torch compute it: of one model, without vmap.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import weight_norm

from sweeper.lane.pack import Machine, Pack
from sweeper.lane.probe_log import ProbeLog
from sweeper.lane.probing import Probing
from sweeper.lane.run import Run
from sweeper.optim.configuration import parse
from sweeper.stability.curvature import ProbePlan
from sweeper.stability.verdict import RunFacts
from sweeper.tasks.functions import Functions
from sweeper.tasks.task import Task

MACHINE = Machine("cpu", "float64", compiled=False)
SGD = parse({"optimizer": "sgd", "lr": 0.05})
ADAM = parse({"optimizer": "adam", "lr": 0.01, "eps": 1e-3})
IMAGES = torch.randn(9, 1, 6, 6, generator=torch.Generator().manual_seed(4))
TOKENS = torch.arange(45).reshape(9, 5) * 7 % 11
ROWS = IMAGES.flatten(1)[:, :4]
LABELS = torch.arange(9) % 3


class Attention(nn.Module):
    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(4, 2, batch_first=True, **settings)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, x, x, need_weights=False)[0]


class Last(nn.Module):
    """Of a sequence, what a recurrent layer ends with."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.layer = kind(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0][:, -1]


class Features(nn.Module):
    """Random features that every run has of its own, and that aren't trained."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.randn(4, 5), requires_grad=False)
        self.register_buffer("shift", torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x @ self.turn + self.shift)


def images(*middle: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), *middle, nn.Flatten(), nn.Linear(width, 3))


def tokens(*middle: nn.Module, width: int = 20) -> nn.Module:
    return nn.Sequential(nn.Embedding(11, 4), *middle, nn.Flatten(), nn.Linear(width, 3))


def rows(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), *middle, nn.Linear(5, 3))


MODELS: dict[str, tuple[Tensor, Callable[[], nn.Module]]] = {
    "convolution": (IMAGES, lambda: images(nn.Tanh(), width=32)),
    "max pooling": (IMAGES, lambda: images(nn.MaxPool2d(2), nn.Tanh(), width=8)),
    "average pooling": (IMAGES, lambda: images(nn.Tanh(), nn.AvgPool2d(2), width=8)),
    "adaptive pooling": (IMAGES, lambda: images(nn.GELU(), nn.AdaptiveMaxPool2d(2), width=8)),
    "batch norm": (IMAGES, lambda: images(nn.BatchNorm2d(2), nn.Tanh(), width=32)),
    "group norm": (IMAGES, lambda: images(nn.GroupNorm(2, 2), nn.Tanh(), width=32)),
    "channel dropout": (IMAGES, lambda: images(nn.Tanh(), nn.Dropout2d(0.3), width=32)),
    "dropout": (ROWS, lambda: rows(nn.Tanh(), nn.Dropout(0.4))),
    "layer norm": (ROWS, lambda: rows(nn.LayerNorm(5), nn.Softplus())),
    "embedding": (TOKENS, lambda: tokens(nn.Tanh())),
    "attention": (TOKENS, lambda: tokens(Attention())),
    "attention with dropout": (TOKENS, lambda: tokens(Attention(dropout=0.2))),
    "transformer": (
        TOKENS,
        lambda: tokens(nn.TransformerEncoderLayer(4, 2, 6, dropout=0.1, batch_first=True)),
    ),
    "instance norm": (
        IMAGES,
        lambda: images(nn.InstanceNorm2d(2, affine=True), nn.Tanh(), width=32),
    ),
    "rms norm": (ROWS, lambda: rows(nn.RMSNorm(5), nn.Tanh())),
    "several": (ROWS, lambda: rows(nn.PReLU(), nn.Softmax(1), nn.ELU(), nn.LogSigmoid())),
    "weight norm": (ROWS, lambda: rows(weight_norm(nn.Linear(5, 5)), nn.Tanh())),
    "lstm": (TOKENS, lambda: tokens(Last(nn.LSTM), width=3)),
    "gru": (TOKENS, lambda: tokens(Last(nn.GRU), width=3)),
    "frozen": (
        ROWS,
        lambda: nn.Sequential(Features(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)),
    ),
}


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many iterations as there are parameters, at most."""
    for name in ("_SHARPNESS", "_SPECTRUM"):
        monkeypatch.setattr(f"sweeper.lane.probing.{name}", ProbePlan(iterations=80))


def task_of(inputs: Tensor, model: Callable[[], nn.Module], **changes: Any) -> Task:
    return Task(model=model, loss=F.cross_entropy, data=(inputs, LABELS), **changes)


def probed(task: Task, configuration: Any, seeds: tuple[int, ...]) -> tuple[Pack, list[ProbeLog]]:
    """Runs after a few steps, and what their probes found."""
    pack = Pack(task, configuration.program, 3, MACHINE)
    for seed in seeds:
        pack.place(Run(seed, 0, configuration.to_dict(), seed, 1000))
    pack.train(10)
    facts = RunFacts(1000, 0, 1, 1e-9)
    logs = [ProbeLog(configuration, facts, 4000, full_batch=True) for _ in seeds]
    probing = Probing(task, 3, MACHINE)
    probing.take(pack, range(len(seeds)), logs)
    probing.flush()
    return pack, logs


def dense(task: Task, pack: Pack, slot: int, seed: int, name: str = "") -> Tensor:
    """The Hessian of the run in a slot, under the random numbers of the key 0."""
    model = task.initial(seed).double()
    inputs = task.data[0].double() if task.data[0].is_floating_point() else task.data[0]

    def loss(theta: Tensor) -> Tensor:
        state = {name: one.clone() for name, one in model.named_buffers()}
        functions = nullcontext() if name == "weight norm" else Functions(torch.tensor(0))
        with functions:
            output = functional_call(model, {**state, **pack.layout.unflatten(theta)}, (inputs,))
            return task.loss(output, task.data[1])

    theta = pack.arena.theta[slot].clone()
    if name == "weight norm":  # torch's second derivative of it isn't even symmetric
        return by_differences(loss, theta)
    found: Any = torch.autograd.functional.hessian(loss, theta)
    return found


def by_differences(loss: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """The Hessian by central differences of the gradient."""

    def slope(point: Tensor) -> Any:
        return torch.autograd.functional.jacobian(loss, point)

    shifts = 1e-5 * torch.eye(len(theta), dtype=theta.dtype)
    columns = [(slope(theta + one) - slope(theta - one)) / 2e-5 for one in shifts]
    found = torch.stack(columns)
    return (found + found.T) / 2


@pytest.mark.parametrize("name", MODELS)
def test_the_sharpness_is_that_of_the_dense_hessian(name: str) -> None:
    task = task_of(*MODELS[name])
    seeds = (0, 5)
    pack, logs = probed(task, SGD, seeds)
    for slot, (seed, log) in enumerate(zip(seeds, logs, strict=True)):
        assert log.trouble is None
        (found,) = log.found
        ends = torch.linalg.eigvalsh(dense(task, pack, slot, seed, name))
        assert found["sharpness"] == pytest.approx(0.05 * float(ends[-1]), rel=1e-6)
        assert found["top_eigenvalue"] == pytest.approx(float(ends[-1]), rel=1e-6)
        # Of an end that isn't isolated the Ritz values come near only.
        assert found["bottom_eigenvalue"] == pytest.approx(float(ends[0]), rel=0.05, abs=1e-6)


class Direct(nn.Module):
    """A kernel whose second derivative is wrong in a pack, and that has no formula here."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(5)), nn.Parameter(torch.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, (5,), self.weight, self.bias)


class Once(torch.autograd.Function):
    """The square of a tensor; its gradient has no derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        return x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return Twice.apply(grad, *ctx.saved_tensors)


class Twice(Once):
    @staticmethod
    def forward(grad: Any, x: Any) -> Any:
        return 2 * x * grad

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        raise RuntimeError("derivative of this kernel is not implemented\nat all")


class Kernel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Once.apply(x)


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.tanh() if x.mean() > 0 else x.relu()


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.bag(torch.tensor([[0, 1, 3]]))


# Some layers have no batching rule: torch then calls them model by model, and warns.
@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize(
    ("middle", "why"),
    [
        (Bag, "the model can't be differentiated twice: "),
        (Direct, "packed, the second derivative of the model differs by"),
        (Kernel, "the model can't be differentiated twice: derivative of this kernel is not impl"),
        (Branch, "1 (Branch): a number or a branch"),
    ],
)
def test_why_there_is_no_probe(middle: Callable[[], nn.Module], why: str) -> None:
    task = task_of(ROWS, lambda: rows(middle()), allow_unpacked=True)
    _, logs = probed(task, SGD, (0, 5))
    for log in logs:
        assert log.trouble is not None and log.trouble.startswith(why)
        assert log.found == [] and why in log.result()["forecast_reason"]
        assert "\n" not in log.trouble


def test_the_divisor_of_adam_counts() -> None:
    """Against the dense Hessian between the roots of the divisor."""
    task = task_of(*MODELS["batch norm"])
    pack, (log,) = probed(task, ADAM, (3,))
    moment = pack.arena.state["exp_avg_sq"][0] if "exp_avg_sq" in pack.arena.state else None
    assert moment is not None
    scale = ((moment / (1 - 0.999**10)).sqrt() + 1e-3).rsqrt()
    ends = torch.linalg.eigvalsh(scale[:, None] * dense(task, pack, 0, 3) * scale)
    assert log.found[0]["sharpness"] == pytest.approx(0.01 * float(ends[-1]), rel=1e-6)


@pytest.mark.parametrize("name", ["dropout", "frozen", "transformer", "batch norm"])
def test_float32_and_neighbours(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe in float32 is near that in float64, and the same to rounding beside anybody."""
    task = task_of(*MODELS[name])
    _, (wide, _) = probed(task, SGD, (5, 0))
    monkeypatch.setitem(globals(), "MACHINE", Machine("cpu", "float32", compiled=False))
    _, (first, second) = probed(task, SGD, (5, 0))
    _, (other, again) = probed(task, SGD, (1, 5))
    again_found = pytest.approx(again.found[0]["sharpness"], rel=1e-6)
    assert first.found[0]["sharpness"] == again_found
    assert len({one.found[0]["sharpness"] for one in (first, second, other)}) == 3
    assert first.found[0]["sharpness"] == pytest.approx(wide.found[0]["sharpness"], rel=1e-3)
