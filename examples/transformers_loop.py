"""A Hugging Face Trainer that joins a sweep with three lines, marked (1) to (3).

    sweeper launch examples/transformers_loop.yaml

The model is tiny and initialised at random; put your own `from_pretrained` in its place. The
Trainer's checkpoints lie in `trial.folder`; from the last one it goes on after a crash.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

import sweeper

VOCABULARY, LENGTH = 32, 16


class Counting(Dataset[dict[str, torch.Tensor]]):
    """Sequences that count up from anywhere, by one."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = (torch.arange(LENGTH) + index) % VOCABULARY
        return {"input_ids": tokens, "labels": tokens}


class Reporter(TrainerCallback):
    """Passes on what the Trainer logs: the mean loss of the steps since the last log."""

    def __init__(self, trial: sweeper.Trial) -> None:
        self.trial = trial

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **others: Any,
    ) -> None:
        if logs and "loss" in logs:
            # global_step counts the steps made; ours start at 0.
            self.trial.report(
                state.global_step - 1, loss=logs["loss"], grad_norm=logs["grad_norm"]
            )  # (2)
        if self.trial.should_stop:  # (3)
            control.should_training_stop = True
            control.should_save = True


def train(trial: sweeper.Trial, batch_size: int = 8) -> None:
    """Train one run. `task_args` in the spec are the arguments after `trial`."""
    torch.manual_seed(trial.seed)
    shape = {"n_positions": LENGTH, "n_embd": 16, "n_layer": 1, "n_head": 2}
    tokens = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
    model = GPT2LMHeadModel(GPT2Config(**shape, **tokens))
    arguments = TrainingArguments(
        output_dir=str(trial.folder),
        max_steps=trial.horizon,
        per_device_train_batch_size=batch_size,
        logging_steps=5,  # a divisor of the horizon, so that the last step is reported
        save_steps=20,
        save_total_limit=2,
        max_grad_norm=0.0,  # the configuration clips, if anything does
        seed=trial.seed,
        use_cpu=trial.device == "cpu",
        disable_tqdm=True,
        report_to=[],
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=Counting(),
        callbacks=[Reporter(trial)],
        optimizers=trial.make_optimizer(model),  # (1)
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(trial.folder)))
