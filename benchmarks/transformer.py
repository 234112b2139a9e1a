"""A small transformer as a task: next-character prediction on random text.

Two layers, 32 wide, two heads, 64 characters, batches of 8 x 32. Attention is written out: the
fused kernels of the CPU can't be packed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sweeper.tasks.task import Task

_VOCABULARY, _WIDTH, _HEADS, _LAYERS, _LENGTH, _BATCH = 64, 32, 2, 2, 32, 8


def build() -> Task:
    """The task."""
    text = torch.randint(
        0, _VOCABULARY, (1024, _LENGTH + 1), generator=torch.Generator().manual_seed(0)
    )
    return Task(
        model=Transformer,
        loss=lambda output, target: nn.functional.cross_entropy(
            output.flatten(0, 1), target.flatten()
        ),
        data=(text[:, :-1].contiguous(), text[:, 1:].contiguous()),
        batch_size=_BATCH,
    )


class Transformer(nn.Module):
    """Decoder with learned positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(_VOCABULARY, _WIDTH)
        self.positions = nn.Parameter(torch.zeros(_LENGTH, _WIDTH))
        self.blocks = nn.ModuleList([_Block() for _ in range(_LAYERS)])
        self.norm = nn.LayerNorm(_WIDTH)
        self.head = nn.Linear(_WIDTH, _VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden: Tensor = self.embedding(tokens) + self.positions
        for block in self.blocks:
            hidden = block(hidden)
        logits: Tensor = self.head(self.norm(hidden))
        return logits


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
        self.attend, self.merge = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.feed = nn.Sequential(
            nn.Linear(_WIDTH, 4 * _WIDTH), nn.GELU(), nn.Linear(4 * _WIDTH, _WIDTH)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.merge(self._attention(self.before(hidden)))
        found: Tensor = hidden + self.feed(self.between(hidden))
        return found

    def _attention(self, hidden: Tensor) -> Tensor:
        batch, length, _ = hidden.shape
        parts = self.attend(hidden).reshape(batch, length, 3, _HEADS, _WIDTH // _HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-1, -2) / math.sqrt(_WIDTH // _HEADS)
        hidden_from = torch.ones(length, length, device=hidden.device).triu(1).bool()
        weights = scores.masked_fill(hidden_from, -math.inf).softmax(-1)
        mixed: Tensor = weights @ value
        return mixed.transpose(1, 2).reshape(batch, length, _WIDTH)
