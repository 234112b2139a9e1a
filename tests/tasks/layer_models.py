"""Small models of all kinds of layers, each with a loss and data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.tasks.task import Task

CLASSES, TOKENS, LENGTH, SAMPLES = 4, 12, 6, 64
_GENERATOR = torch.Generator().manual_seed(0)
VECTORS = torch.randn(SAMPLES, 10, generator=_GENERATOR)
IMAGES = torch.randn(SAMPLES, 2, 6, 6, generator=_GENERATOR)
LABELS = torch.randint(0, CLASSES, (SAMPLES,), generator=_GENERATOR)
TEXT = torch.randint(0, TOKENS, (SAMPLES, LENGTH), generator=_GENERATOR)


class Convolution(nn.Module):
    """Convolution, BatchNorm, channel dropout, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.drop, self.head = nn.Dropout2d(0.2), nn.Linear(6 * 9, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.drop(self.norm(self.conv(x)).relu()), 2)
        found: Tensor = self.head(x.flatten(1))
        return found


class Strided(nn.Module):
    """Strides, groups, dilation, GroupNorm, average pooling, a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.up, self.norm = nn.ConvTranspose2d(4, 4, 2, stride=2), nn.GroupNorm(2, 4)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.up(self.second(F.silu(self.first(x)))))
        found: Tensor = self.head(x.mean((2, 3)))
        return found


class Decoder(nn.Module):
    """Embedding, attention behind a mask, dropout, LayerNorm, tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, TOKENS, bias=False)
        self.head.weight = self.embedding.weight
        mask = nn.Transformer.generate_square_subsequent_mask(LENGTH)
        self.register_buffer("mask", mask)

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.head(self.layer(self.embedding(tokens), src_mask=self.mask))
        return found


class Counting(nn.Module):
    """A buffer that a forward replaces, one that starts at random, frozen parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(10, 8), nn.Linear(8, CLASSES)
        self.first.requires_grad_(False)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("directions", torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).relu() * self.directions
        self.scale = 0.9 * self.scale + 0.1 * hidden.detach().abs().mean()
        found: Tensor = self.head(hidden / self.scale)
        return found


class Recurrent(nn.Module):
    """Cells of an LSTM in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell = nn.Embedding(TOKENS, 6), nn.LSTMCell(6, 8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = cell = self.embedding(tokens).new_zeros(len(tokens), 8)
        for place in range(LENGTH):
            hidden, cell = self.cell(self.embedding(tokens[:, place]), (hidden, cell))
        found: Tensor = self.head(hidden)
        return found


class TwoHeads(nn.Module):
    """Two inputs, two outputs; noise of its own on one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(10, 8), nn.Embedding(TOKENS, 8)
        self.label, self.value = nn.Linear(8, CLASSES), nn.Linear(8, 1)

    def forward(self, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        x = x + 0.1 * torch.randn_like(x)
        hidden = torch.tanh(self.left(x) + self.right(tokens).mean(1))
        return self.label(hidden), self.value(hidden)[:, 0]


def _weight_norm() -> nn.Module:
    first = nn.utils.parametrizations.weight_norm(nn.Linear(10, 8))
    return nn.Sequential(first, nn.Tanh(), nn.Linear(8, CLASSES))


def _batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES))


def _next_token(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def _both(output: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(output[0], target[0]) + F.mse_loss(output[1], target[1])


_KINDS: dict[str, tuple[Callable[[], nn.Module], Callable[..., Tensor], Any]] = {
    "convolution": (Convolution, F.cross_entropy, (IMAGES, LABELS)),
    "strided": (Strided, F.cross_entropy, (IMAGES, LABELS)),
    "decoder": (Decoder, _next_token, (TEXT, TEXT)),
    "counting": (Counting, F.cross_entropy, (VECTORS, LABELS)),
    "recurrent": (Recurrent, F.cross_entropy, (TEXT, LABELS)),
    "two_heads": (TwoHeads, _both, ((VECTORS, TEXT), (LABELS, VECTORS[:, 0]))),
    "weight_norm": (_weight_norm, F.cross_entropy, (VECTORS, LABELS)),
    "batch_norm": (_batch_norm, F.cross_entropy, (VECTORS, LABELS)),
}
KINDS = tuple(_KINDS)


def task(kind: str, batch_size: int | None = 16, **options: Any) -> Task:
    """A task with one of the models."""
    model, loss, data = _KINDS[kind]
    return Task(model=model, loss=loss, data=data, batch_size=batch_size, **options)
