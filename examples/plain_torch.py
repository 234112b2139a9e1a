"""A training loop in plain PyTorch that joins a sweep with three lines, marked (1) to (3).

    sweeper launch examples/plain_torch.yaml

It keeps a checkpoint in `trial.folder` and goes on from there after a crash or an interrupt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import sweeper

CHECKPOINT_EVERY = 50


def spirals(points: int = 512) -> tuple[Tensor, Tensor]:
    """Two spirals, one inside the other: `[points, 2]` and their classes."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(points) % 2
    turn = 5 * torch.rand(points, generator=generator).sqrt()
    angle = turn + torch.pi * classes
    inputs = torch.stack([turn * angle.cos(), turn * angle.sin()], dim=1) / 3
    return inputs + 0.02 * torch.randn(inputs.shape, generator=generator), classes


def train(trial: sweeper.Trial, hidden: int = 32, batch_size: int = 64) -> dict[str, float]:
    """Train one run. `task_args` in the spec are the arguments after `trial`."""
    inputs, classes = (part.to(trial.device) for part in spirals())
    held_out = torch.arange(len(inputs)) % 4 == 0
    train_inputs, train_classes = inputs[~held_out], classes[~held_out]
    torch.manual_seed(trial.seed)
    model = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 2)).to(trial.device)
    optimizer, scheduler = trial.make_optimizer(model)  # (1)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}

    checkpoint = trial.folder / "checkpoint.pt"
    start = restore(checkpoint, parts)
    for step in range(start, trial.horizon):
        # Batches as a function of (seed, step): a run that was interrupted sees the same ones.
        generator = torch.Generator().manual_seed(1_000_000 * trial.seed + step)
        batch = torch.randint(len(train_inputs), (batch_size,), generator=generator)
        loss = nn.functional.cross_entropy(model(train_inputs[batch]), train_classes[batch])
        trial.report(step, loss=loss)  # (2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if (step + 1) % CHECKPOINT_EVERY == 0 or trial.should_stop:
            save(checkpoint, parts, step + 1)
        if trial.should_stop:  # (3)
            break
    with torch.no_grad():
        correct = model(inputs[held_out]).argmax(1) == classes[held_out]
    return {"held_out_accuracy": correct.double().mean().item()}


def save(path: Path, parts: dict[str, Any], step: int) -> None:
    """Write a checkpoint aside and rename it: a crash leaves the one before."""
    aside = path.with_suffix(".new")
    states = {name: part.state_dict() for name, part in parts.items()}
    torch.save({"step": step, **states}, aside)
    aside.replace(path)


def restore(path: Path, parts: dict[str, Any]) -> int:
    """Load a checkpoint; the step to go on with, 0 where there is none."""
    if not path.exists():
        return 0
    saved = torch.load(path)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return int(saved["step"])
