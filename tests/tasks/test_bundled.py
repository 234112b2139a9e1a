"""The bundled tasks: the numbers of the question, batches, held-out accuracy."""

import numpy as np
import pytest
import torch

from sweeper.errors import SweepError
from sweeper.tasks.registry import BUNDLED, TaskName
from sweeper.tasks.task import Task

# "Strange behavior with Adam optimizer when training for too long": the first losses posted.
POSTED = [91.74887, 76.85825, 63.43408, 51.46927, 40.94289, 31.81937]


def build(name: str, **args: object) -> Task:
    return TaskName(name, args).build()


def adam_losses(task: Task, seed: int, steps: int) -> list[float]:
    """Plain torch, as the question has it."""
    model = task.initial(seed)
    optimizer = torch.optim.Adam(model.parameters())
    losses = []
    for _ in range(steps):
        loss = task.loss(model(task.data[0]), task.data[1])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def test_perceptron_is_that_of_the_question() -> None:
    assert adam_losses(build("perceptron"), 0, 6) == pytest.approx(POSTED, rel=2e-6)


def test_other_seeds_change_weights_and_other_data_seeds_the_data() -> None:
    task, other = build("perceptron"), build("perceptron", data_seed=1)
    assert not torch.equal(task.data[0], other.data[0])
    weights = [next(task.initial(seed).parameters()) for seed in (0, 1, 2, 1)]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    assert torch.equal(weights[1], weights[3])
    assert all(w.abs().max() <= 1000**-0.5 for w in weights)


def test_packed_loss_is_the_loss() -> None:
    task = build("perceptron")
    models = [task.initial(seed) for seed in range(3)]
    packed = {
        name: torch.stack([dict(m.named_parameters())[name].detach() for m in models])
        for name in ("weight", "bias")
    }
    assert task.packed_loss is not None
    alone = [task.loss(model(task.data[0]), task.data[1]) for model in models]
    # float32 sums of 64 terms in another order.
    torch.testing.assert_close(
        task.packed_loss(packed, *task.data), torch.stack(alone).detach(), rtol=1e-5, atol=0
    )


def test_batches_are_a_pure_function_of_seed_and_step() -> None:
    task = build("digits")
    stream = task.indices(3, 0, 60)
    assert np.array_equal(stream[17:45], task.indices(3, 17, 28))
    assert not np.array_equal(stream, task.indices(4, 0, 60))
    inputs, targets = task.batch(3, 17)
    assert torch.equal(inputs, task.data[0][stream[17]])
    assert torch.equal(targets, task.data[1][stream[17]])


def test_an_epoch_sees_no_sample_twice() -> None:
    task = build("digits", batch_size=100)
    assert task.epoch_steps == 14
    for epoch in range(3):
        seen = task.indices(0, epoch * 14, 14).reshape(-1)
        assert len(set(seen.tolist())) == 1400
    first, second = task.indices(0, 0, 14), task.indices(0, 14, 14)
    assert not np.array_equal(first, second)


def test_held_out_images_are_not_trained_on() -> None:
    task = build("digits")
    assert len(task.data[0]) == 1437
    assert task.evaluate is not None
    accuracy = task.evaluate(task.initial(0))["held_out_accuracy"]
    assert 0 <= accuracy <= 0.35


def test_initial_parameters_leave_the_global_generator_alone() -> None:
    task = build("digits")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    task.initial(123)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("name", list(BUNDLED))
def test_every_bundled_task_builds(name: str) -> None:
    task = build(name)
    assert task.loss(task.initial(0)(task.batch(0, 0)[0]), task.batch(0, 0)[1]).ndim == 0


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("perceptrn", {}, "Did you mean 'perceptron'?"),
        ("perceptron", {"data_sed": 1}, "Did you mean 'data_seed'?"),
        ("perceptron", {"data_seed": -1}, "an int >= 0"),
        ("digits", {"batch_size": 0}, "an int from 1 to 1437"),
        ("digits", {"hidden": "many"}, "task_args.hidden"),
        ("no_such_module_here:build", {}, "no module"),
        ("sweeper.tasks.digits:nothing", {}, "no function"),
        ("sweeper.tasks.digits:_HELD_OUT", {}, "no function '_HELD_OUT'"),
        ("../evil:build", {}, "unknown task"),
    ],
)
def test_bad_tasks_are_named(name: str, args: dict[str, object], says: str) -> None:
    with pytest.raises(SweepError, match=says.replace("?", r"\?")):
        build(name, **args)


def test_a_task_with_wrong_data_is_refused() -> None:
    data = (torch.zeros(4, 2), torch.zeros(3))
    with pytest.raises(SweepError, match="inputs and targets have 4 and 3 samples"):
        Task(model=lambda: torch.nn.Linear(2, 1), loss=torch.nn.functional.mse_loss, data=data)
    good = (torch.zeros(4, 2), torch.zeros(4, 1))
    with pytest.raises(SweepError, match="1 to 4 samples"):
        Task(
            model=lambda: torch.nn.Linear(2, 1),
            loss=torch.nn.functional.mse_loss,
            data=good,
            batch_size=5,
        )
