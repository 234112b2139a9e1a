"""A Lightning module that joins a sweep with three lines, marked (1) to (3).

    sweeper launch examples/lightning_loop.yaml

Lightning's own checkpoints lie in `trial.folder`; from the last one it goes on after a crash.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import sweeper


class Regression(lightning.LightningModule):
    """A small network that learns a sine."""

    def __init__(self, trial: sweeper.Trial, hidden: int) -> None:
        super().__init__()
        self.trial = trial
        self.model = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        inputs, targets = batch
        loss = nn.functional.mse_loss(self.model(inputs), targets)
        # global_step counts optimizer steps, over restarts too.
        self.trial.report(self.global_step, loss=loss)  # (2)
        if self.trial.should_stop:  # (3)
            self.trainer.should_stop = True
        return loss

    def configure_optimizers(self) -> Any:
        optimizer, scheduler = self.trial.make_optimizer(self.model)  # (1)
        # Lightning steps schedulers by epochs unless it is told otherwise.
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def train(trial: sweeper.Trial, hidden: int = 32, batch_size: int = 32) -> dict[str, float]:
    """Train one run. `task_args` in the spec are the arguments after `trial`."""
    lightning.seed_everything(trial.seed, verbose=False)
    inputs = torch.linspace(-3, 3, 256).unsqueeze(1)
    data = TensorDataset(inputs, inputs.sin())
    module = Regression(trial, hidden)
    trainer = lightning.Trainer(
        accelerator="cpu" if trial.device == "cpu" else "gpu",
        devices=1,
        max_steps=trial.horizon,
        max_epochs=-1,
        callbacks=[ModelCheckpoint(trial.folder, save_last=True, every_n_train_steps=20)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    last = trial.folder / "last.ckpt"
    trainer.fit(
        module,
        DataLoader(data, batch_size=batch_size, shuffle=True),
        ckpt_path=last if last.exists() else None,
    )
    with torch.no_grad():
        error = nn.functional.mse_loss(module.cpu().model(inputs), inputs.sin())
    return {"held_out_loss": error.item()}
