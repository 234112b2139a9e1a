"""Small models with one kind of layer each, and data for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import dropout as own_name_of_dropout
from torch.nn.utils import parametrizations

from sweeper.tasks.task import Task

_IMAGES, _SEQUENCES, _VECTORS, _SAMPLES = (3, 6, 6), (5, 8), (6,), 24


class Wrapped(nn.Module):
    """A forward of one's own around some modules."""

    def __init__(self, forward: Callable[..., Tensor], **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self._forward = forward

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._forward(self, *inputs)


class Masked(nn.Module):
    """Attention with a causal mask in a buffer, by torch's functional form."""

    def __init__(self, is_causal: bool = False) -> None:
        super().__init__()
        self.project, self.head = nn.Linear(8, 24), nn.Linear(8, 3)
        self.is_causal = is_causal
        self.register_buffer("visible", torch.ones(5, 5, dtype=torch.bool).tril())

    def forward(self, x: Tensor) -> Tensor:
        heads = self.project(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        mask = {"is_causal": True} if self.is_causal else {"attn_mask": self.visible}
        mixed = F.scaled_dot_product_attention(*heads.unbind(0), dropout_p=0.1, **mask)
        found: Tensor = self.head(mixed.transpose(1, 2).flatten(-2).mean(1))
        return found


class Tied(nn.Module):
    """Embedding and head share their weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 8), nn.Linear(8, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.head(torch.tanh(self.embedding(tokens))).flatten(0, 1)
        return found


class Averaging(nn.Module):
    """Changes buffers of its own: one in place, one by assignment, without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.mean.mul_(0.9).add_(0.1 * x.mean(0) * self.layer.weight.mean())
            self.seen += 1
        found: Tensor = self.layer(x - self.mean)
        return found


class Frozen(nn.Module):
    """Random features: a frozen layer that starts at random, and a random buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Linear(6, 12), nn.Linear(12, 3)
        self.features.requires_grad_(False)
        self.register_buffer("phase", torch.rand(12))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(torch.cos(self.features(x) + self.phase))
        return found


def _two_inputs(module: Any, x: Tensor, y: Tensor) -> Tensor:
    found: Tensor = module.left(x) + module.right(y).mean(1)
    return found


def _last_of(module: Any, x: Tensor) -> Tensor:
    found: Tensor = module.head(module.cells(x)[0][:, -1])
    return found


def _attended(module: Any, x: Tensor) -> Tensor:
    found: Tensor = module.head(module.attend(x, x, x, need_weights=False)[0].mean(1))
    return found


def _convolution(*norms: nn.Module, bias: bool = False) -> nn.Module:
    # No bias before a norm: its gradient is rounding, which Adam makes steps of.
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=bias), *norms, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, 3),
    )  # fmt: skip


def _vectors(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12, bias=False), *layers, nn.Linear(12, 3))


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True, norm_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(40, 3))


def _attention() -> nn.Module:
    attend = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)
    return Wrapped(_attended, attend=attend, head=nn.Linear(8, 3))


def _spectral() -> nn.Module:
    layer = parametrizations.spectral_norm(nn.Linear(6, 12))
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(12, 3))


def _weight_norm() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 12)), nn.Linear(12, 3))


# By name: what is given to it, and how it is built.
MODELS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "convolution": ("images", lambda: _convolution(bias=True)),
    "convolution1d": (
        "sequences",
        lambda: nn.Sequential(
            nn.Conv1d(5, 4, 3, stride=2), nn.GELU(), nn.Flatten(), nn.Linear(12, 3)
        ),
    ),
    "depthwise": (
        "images",
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, groups=3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 3)
        ),
    ),
    "transposed": (
        "images",
        lambda: nn.Sequential(
            nn.ConvTranspose2d(3, 2, 2, stride=2), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
            nn.Linear(8, 3),
        ),
    ),
    "batch_norm": ("images", lambda: _convolution(nn.BatchNorm2d(4))),
    "batch_norm1d": ("vectors", lambda: _vectors(nn.BatchNorm1d(12), nn.Tanh())),
    "batch_norm_bare": (
        "vectors",
        lambda: _vectors(nn.BatchNorm1d(12, affine=False, track_running_stats=False)),
    ),
    "instance_norm": (
        "images",
        lambda: _convolution(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)),
    ),
    "group_norm": ("images", lambda: _convolution(nn.GroupNorm(2, 4))),
    "layer_norm": ("vectors", lambda: _vectors(nn.LayerNorm(12), nn.GELU())),
    "rms_norm": ("vectors", lambda: _vectors(nn.RMSNorm(12), nn.SiLU())),
    "dropout": ("vectors", lambda: _vectors(nn.ReLU(), nn.Dropout(0.3))),
    "dropout_by_name": (
        "vectors",
        lambda: Wrapped(
            lambda module, x: module.head(own_name_of_dropout(module.body(x), 0.3)),
            body=nn.Linear(6, 12),
            head=nn.Linear(12, 3),
        ),
    ),
    "dropout2d": ("images", lambda: _convolution(nn.Dropout2d(0.3))),
    "dropout1d": (
        "sequences",
        lambda: nn.Sequential(
            nn.Conv1d(5, 4, 3), nn.Dropout1d(0.3), nn.Flatten(), nn.Linear(24, 3)
        ),
    ),
    "alpha_dropout": ("vectors", lambda: _vectors(nn.SELU(), nn.AlphaDropout(0.2))),
    "feature_alpha_dropout": (
        "images", lambda: _convolution(nn.SELU(), nn.FeatureAlphaDropout(0.2)),
    ),
    "noise": (
        "vectors",
        lambda: Wrapped(
            lambda module, x: module.head(module.body(x) + 0.1 * torch.randn(24, 12).to(x)),
            body=nn.Linear(6, 12),
            head=nn.Linear(12, 3),
        ),
    ),
    "embedding": (
        "tokens", lambda: nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 7), nn.Flatten(0, 1))
    ),
    "embedding_padded": (
        "tokens",
        lambda: nn.Sequential(
            nn.Embedding(7, 8, padding_idx=0), nn.Linear(8, 7), nn.Flatten(0, 1)
        ),
    ),
    "tied": ("tokens", Tied),
    "multi_head_attention": ("sequences", _attention),
    "transformer_encoder": ("sequences", _encoder),
    "attention": ("sequences", Masked),
    "causal_attention": ("sequences", lambda: Masked(is_causal=True)),
    "changed_buffer": ("vectors", Averaging),
    "frozen": ("vectors", Frozen),
    "spectral_norm": ("vectors", _spectral),
    "weight_norm": ("vectors", _weight_norm),
    "two_inputs": (
        "pairs", lambda: Wrapped(_two_inputs, left=nn.Linear(6, 3), right=nn.Linear(8, 3))
    ),
    "lstm": (
        "sequences",
        lambda: Wrapped(_last_of, cells=nn.LSTM(8, 6, batch_first=True), head=nn.Linear(6, 3)),
    ),
    "lstm_two_layers": (
        "sequences",
        lambda: Wrapped(
            _last_of, cells=nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True),
            head=nn.Linear(12, 3),
        ),
    ),
    "gru": (
        "sequences",
        lambda: Wrapped(_last_of, cells=nn.GRU(8, 6, batch_first=True), head=nn.Linear(6, 3)),
    ),
    "rnn": (
        "sequences",
        lambda: Wrapped(_last_of, cells=nn.RNN(8, 6, batch_first=True), head=nn.Linear(6, 3)),
    ),
}  # fmt: skip


def task_of(name: str, **options: Any) -> Task:
    """The model of that name on data that suit it, in batches of 24 of 72."""
    kind, build = MODELS[name]
    return replace(task_for(build, kind), **options)


def task_for(build: Callable[[], nn.Module], kind: str = "vectors", **options: Any) -> Task:
    """Any model on data of a kind: `images`, `sequences`, `vectors`, `tokens`, `pairs`."""
    generator = torch.Generator().manual_seed(3)
    given: dict[str, Any] = {"model": build, "loss": F.cross_entropy, "batch_size": _SAMPLES}
    count = 3 * _SAMPLES
    labels = torch.randint(0, 3, (count,), generator=generator)
    if kind == "tokens":
        text = torch.randint(0, 7, (count, 6), generator=generator)
        data: Any = (text[:, :-1].contiguous(), text[:, 1:].contiguous())
        given["loss"] = lambda output, target: F.cross_entropy(output, target.flatten())
    elif kind == "pairs":
        left, right = (torch.randn(count, *s, generator=generator) for s in ((6,), (5, 8)))
        weight = torch.rand(count, generator=generator)
        data = ((left, right), (labels, weight))
        given["loss"] = _weighted
    else:
        shape = {"images": _IMAGES, "sequences": _SEQUENCES, "vectors": _VECTORS}[kind]
        data = (torch.randn(count, *shape, generator=generator), labels)
    return Task(**{**given, "data": data, **options})


def _weighted(output: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
    labels, weight = targets
    return (F.cross_entropy(output, labels, reduction="none") * weight).mean()
