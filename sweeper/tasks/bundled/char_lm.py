"""A small language model: the next character of the help texts that Python ships with.

A decoder-only transformer (GPT) with learned positions and layer norms before its parts. The text
is English about Python, some 700,000 characters, and differs a little between its versions.
"""

from __future__ import annotations

from pydoc_data.topics import topics

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sweeper.tasks.bundled.arguments import check_int
from sweeper.tasks.task import Task

# The last tenth of the text is held out, of it some pieces are looked at.
_HELD_OUT, _LOOKED_AT = 0.1, 256


def build(
    width: int = 32,
    layers: int = 2,
    heads: int = 2,
    length: int = 32,
    batch_size: int = 8,
    scale: int = 1,
) -> Task:
    """The task.

    Args:
        width: of the residual stream, a multiple of heads.
        layers: blocks.
        heads: of each attention.
        length: characters of a piece.
        batch_size: pieces per step.
        scale: multiplies width, heads, length and batch_size: 8 keeps a GPU busy.
    """
    for name, value in (
        ("width", width), ("layers", layers), ("heads", heads), ("length", length),
        ("batch_size", batch_size), ("scale", scale),
    ):  # fmt: skip
        check_int(name, value, 1, 4096)
    check_int("heads", heads, 1, width)
    width, heads, length = width // heads * heads * scale, heads * scale, length * scale
    text = "\n".join(topics[name] for name in sorted(topics))
    characters = {character: i for i, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([characters[character] for character in text])
    pieces = tokens[: len(tokens) // (length + 1) * (length + 1)].view(-1, length + 1)
    known = len(pieces) - max(1, round(_HELD_OUT * len(pieces)))
    held_out = pieces[known:][:: max(1, (len(pieces) - known) // _LOOKED_AT)]

    def evaluate(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        logits = model(held_out[:, :-1].to(device))
        return {"held_out_loss": _loss(logits, held_out[:, 1:].to(device)).item()}

    return Task(
        model=lambda: CharacterModel(len(characters), width, layers, heads, length),
        loss=_loss,
        data=(pieces[:known, :-1].contiguous(), pieces[:known, 1:].contiguous()),
        batch_size=batch_size * scale,
        evaluate=evaluate,
    )


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy of a character, in nats."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class CharacterModel(nn.Module):
    """Decoder with learned positions; `[B, length]` tokens to `[B, length, characters]` logits."""

    def __init__(self, characters: int, width: int, layers: int, heads: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.blocks(self.embedding(tokens) + self.positions)
        logits: Tensor = self.head(self.norm(hidden))
        return logits


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.merge(self._attention(self.before(hidden)))
        found: Tensor = hidden + self.feed(self.between(hidden))
        return found

    def _attention(self, hidden: Tensor) -> Tensor:
        batch, length, width = hidden.shape
        parts = self.attend(hidden).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).reshape(batch, length, width)
