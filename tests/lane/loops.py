"""Own loops of the tests: each is trained in a process of its own."""

from __future__ import annotations

import os
import signal
import time

import torch

import sweeper
from sweeper.tasks.registry import TaskName


def digits(trial: sweeper.Trial, save_every: int = 0) -> dict[str, float]:
    """What the bundled task does, with a checkpoint now and then."""
    task = TaskName("digits", {}).build()
    model = task.initial(trial.seed)
    optimizer, scheduler = trial.make_optimizer(model)
    parts = (model, optimizer, scheduler)
    path, first = trial.folder / "checkpoint.pt", 0
    if path.exists():
        first, *states = torch.load(path)
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(state)
    with (trial.folder / "starts").open("a") as file:
        print(first, os.getpid(), file=file)
    for step in range(first, trial.horizon):
        inputs, targets = task.batch(trial.seed, step)
        loss = task.loss(model(inputs), targets)
        trial.report(step, loss=loss, grad_norm=torch.tensor(2.0), seen=step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if save_every and (step + 1) % save_every == 0:
            states = [part.state_dict() for part in parts]
            torch.save([step + 1, *states], path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
        if trial.should_stop:
            break
    return {k: float(v) for k, v in task.evaluate(model).items()}  # type: ignore[misc]


def counted() -> sweeper.OwnLoop:
    """A factory that says more than a function can."""
    return sweeper.OwnLoop(train=digits, epoch_steps=22)


def seldom(trial: sweeper.Trial, every: int = 10) -> None:
    """Reports the mean of ten steps."""
    for step in range(every - 1, trial.horizon, every):
        trial.report(step, loss=1.0 / (step + 1))


def slow(trial: sweeper.Trial) -> None:
    for step in range(trial.horizon):
        time.sleep(2.5)
        trial.report(step, loss=1.0)


def plain(trial: sweeper.Trial, last: int = 1 << 60, value: float = 1.0) -> None:
    """Returns or turns non-finite after a step."""
    for step in range(min(trial.horizon, last + 1)):
        trial.report(step, loss=value if step == last else 1.0)


def failing(trial: sweeper.Trial) -> None:
    trial.report(0, loss=1.0)
    raise ValueError("no such batch")


def deaf(trial: sweeper.Trial) -> None:
    """Never asks whether it should stop."""
    step = 0
    try:
        while True:
            trial.report(step, loss=1.0)
            step += 1
    finally:
        (trial.folder / "left").write_text(str(step))


def hanging(trial: sweeper.Trial) -> None:
    """Doesn't come back."""
    (trial.folder / "pid").write_text(str(os.getpid()))
    trial.report(0, loss=1.0)
    while True:
        time.sleep(1)


def dying(trial: sweeper.Trial) -> None:
    """Kills its process at the same step each time."""
    for step in range(trial.horizon):
        trial.report(step, loss=1.0)
        if step == 4:
            os.kill(os.getpid(), signal.SIGKILL)


def wrong(trial: sweeper.Trial, kind: str) -> None:
    """Reports what can't be."""
    trial.report(3, loss=1.0)
    if kind == "back":
        trial.report(3, loss=1.0)
    elif kind == "beyond":
        trial.report(trial.horizon, loss=1.0)
    elif kind == "text":
        trial.report(4, loss="0.5")  # type: ignore[arg-type]
    elif kind == "many":
        trial.report(4, loss=torch.ones(3))
    elif kind == "half":
        trial.report(4.5, loss=1.0)  # type: ignore[arg-type]
    elif kind == "config":
        trial.config["optimizer"] = "adamm"
        trial.make_optimizer(torch.nn.Linear(1, 1))
    elif kind == "returned":
        for step in range(4, trial.horizon):
            trial.report(step, loss=1.0)
        return {"accuracy": "good"}  # type: ignore[return-value]


def told(trial: sweeper.Trial) -> dict[str, str]:
    """Writes down what it was told."""
    lines = [trial.device, trial.seed, torch.get_num_threads(), os.getcwd(), torch.rand(()).item()]
    print("told", *lines, flush=True)
    for step in range(trial.horizon):
        trial.report(step, loss=1.0)
    return {}
