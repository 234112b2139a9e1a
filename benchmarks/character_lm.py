"""A small language model as a task: the next character of the help texts that Python ships with.

Two layers, 32 wide, two heads, batches of 8 x 32 characters, written as an ordinary user does.
"""

from __future__ import annotations

from pydoc_data.topics import topics

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sweeper.tasks.task import Task

_WIDTH, _HEADS, _LAYERS, _LENGTH, _BATCH = 32, 2, 2, 32, 8


def build() -> Task:
    """The task."""
    text = "\n".join(topics[name] for name in sorted(topics))
    characters = {character: i for i, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([characters[character] for character in text])
    pieces = tokens[: len(tokens) // (_LENGTH + 1) * (_LENGTH + 1)].view(-1, _LENGTH + 1)
    return Task(
        model=lambda: CharacterModel(len(characters)),
        loss=lambda logits, targets: F.cross_entropy(logits.flatten(0, 1), targets.flatten()),
        data=(pieces[:, :-1].contiguous(), pieces[:, 1:].contiguous()),
        batch_size=_BATCH,
    )


class CharacterModel(nn.Module):
    """Decoder with learned positions.

    Args:
        characters: size of the alphabet.
    """

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, _WIDTH)
        self.positions = nn.Parameter(torch.zeros(_LENGTH, _WIDTH))
        self.blocks = nn.Sequential(*(_Block() for _ in range(_LAYERS)))
        self.norm = nn.LayerNorm(_WIDTH)
        self.head = nn.Linear(_WIDTH, characters)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.blocks(self.embedding(tokens) + self.positions)
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
        parts = self.attend(hidden).view(batch, length, 3, _HEADS, _WIDTH // _HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).reshape(batch, length, _WIDTH)
