"""Images with one object, four regressions at once: the network of Stack Overflow 42327543.

"Adam optimizer goes haywire after 200k batches, training loss grows" (2017): convolutions with
residual connections, four fully connected heads: whether there is an object (cross entropy), its
orientation as sine and cosine (clipped by average norm), its magnitude and its position (L2),
plus regularisation; their sum is minimised. The asker's data aren't known: these are drawn.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sweeper.tasks.bundled.arguments import check_int
from sweeper.tasks.task import Task

_HELD_OUT = 0.1
_NOISE = 0.05
_REGULARISATION = 1e-4
_CLIP = 2.0  # average norm of the orientation's output


def build(
    images: int = 5000, size: int = 12, channels: int = 8, batch_size: int = 200,
    data_seed: int = 0, scale: int = 1,
) -> Task:  # fmt: skip
    """The task.

    Args:
        images: in all, a tenth of them held out; image i is a function of (data_seed, i) alone.
        size: pixels of a side, a multiple of 4.
        channels: of the convolutions.
        batch_size: images per step.
        data_seed: of the images.
        scale: multiplies size and channels, and images by its square: 4 keeps a GPU busy.
    """
    check_int("images", images, 20, 10_000_000)
    check_int("size", size, 4, 512)
    check_int("channels", channels, 1, 1024)
    check_int("data_seed", data_seed, 0, 2**31 - 1)
    check_int("scale", scale, 1, 64)
    size, channels, images = size // 4 * 4 * scale, channels * scale, images * scale**2
    inputs, targets = draw(images, size, data_seed)
    known = images - round(_HELD_OUT * images)
    held_out = inputs[known:], targets[known:]

    def evaluate(model: nn.Module) -> dict[str, float]:
        parameter = next(model.parameters())
        x, y = (one.to(parameter.device, parameter.dtype) for one in held_out)
        output = model(x)
        parts = {f"held_out_{name}": one.item() for name, one in losses(output[:-1], y).items()}
        right = (output[0] > 0) == (y[:, 0] > 0.5)
        return {**parts, "held_out_accuracy": right.double().mean().item()}

    return Task(
        model=lambda: Network(size, channels),
        loss=lambda output, target: sum(losses(output[:-1], target).values(), output[-1]),
        data=(inputs[:known], targets[:known]),
        batch_size=check_int("batch_size", batch_size, 1, known),
        evaluate=evaluate,
    )


def draw(images: int, size: int, data_seed: int) -> tuple[Tensor, Tensor]:
    """Images `[N, 1, size, size]`, targets `[N, 6]`: presence, sine, cosine, magnitude,
    x and y.

    The object is an elongated blob, brighter at its head; its length is the magnitude. Half of the
    images have none: their other targets are 0. Magnitude and position are of mean 0, variance 1.
    """
    random = np.random.default_rng([data_seed, 42327543])
    # One row of numbers an image: image i doesn't depend on how many there are.
    u = random.random((images, 5)).astype(np.float32)
    present, angle = u[:, 0] < 0.5, 2 * math.pi * u[:, 1]
    centre = 0.25 + 0.5 * u[:, 2:4]
    length = 0.15 + 0.2 * u[:, 4]
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size
    dx = grid[None, None, :] - centre[:, 0, None, None]
    dy = grid[None, :, None] - centre[:, 1, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    reach = length[:, None, None]
    blob = np.exp(-((along / reach) ** 2) - (across / (0.5 * reach)) ** 2)
    blob *= 0.6 + 0.4 * np.tanh(3 * along / reach)
    noise = np.random.default_rng([data_seed, 1]).normal(0, _NOISE, blob.shape)
    pictures = blob * present[:, None, None] + noise
    unit = math.sqrt(12)  # standard deviations of a uniform variable in 1
    others = np.stack(
        [np.sin(angle), np.cos(angle), unit * (u[:, 4] - 0.5), *(unit * (u[:, 2:4] - 0.5)).T], 1
    )
    targets = np.concatenate([present[:, None], others * present[:, None]], 1)
    return (
        torch.from_numpy(pictures[:, None].astype(np.float32)),
        torch.from_numpy(targets.astype(np.float32)),
    )


class Network(nn.Module):
    """Logit `[B]`, orientation `[B, 2]`, magnitude `[B]`, position `[B, 2]`, and the penalty."""

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.residual = nn.ModuleList(_Residual(channels) for _ in range(2))
        features = channels * (size // 4) ** 2
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, outputs))
            for outputs in (1, 2, 1, 2)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        hidden = F.relu(self.first(images))
        for block in self.residual:
            hidden = F.max_pool2d(block(hidden), 2)
        presence, orientation, magnitude, position = (
            head(hidden.flatten(1)) for head in self.heads
        )
        weights = (p for name, p in self.named_parameters() if name.endswith("weight"))
        penalty = _REGULARISATION * sum((w.square().sum() / 2 for w in weights), images.sum() * 0)
        orientation = clip_by_average_norm(orientation, _CLIP)
        return presence[:, 0], orientation, magnitude[:, 0], position, penalty


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        return F.relu(hidden + self.convolution(hidden))


def clip_by_average_norm(x: Tensor, limit: float) -> Tensor:
    """x, scaled down where its norm by its number of elements is above the limit (TensorFlow)."""
    average = x.square().sum().sqrt() / x.numel()
    return x * torch.clamp(limit / average.clamp_min(1e-30), max=1.0)


def losses(output: tuple[Tensor, ...], target: Tensor) -> dict[str, Tensor]:
    """The four losses; those of an object count only where there is one."""
    presence, orientation, magnitude, position = output
    there = target[:, 0]
    return {
        "presence_loss": F.binary_cross_entropy_with_logits(presence, there),
        "orientation_loss": _squared(orientation, target[:, 1:3], there),
        "magnitude_loss": _squared(magnitude[:, None], target[:, 3:4], there),
        "position_loss": _squared(position, target[:, 4:6], there),
    }


def _squared(output: Tensor, target: Tensor, there: Tensor) -> Tensor:
    return ((output - target).square().sum(1) * there).mean()
