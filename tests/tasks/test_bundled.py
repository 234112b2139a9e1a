"""The bundled tasks: the numbers of the question, batches, held-out accuracy."""

from typing import Any

import numpy as np
import pytest
import torch

from sweeper.errors import SweepError
from sweeper.tasks.bundled import saddle
from sweeper.tasks.bundled.multitask import clip_by_average_norm, draw
from sweeper.tasks.registry import BUNDLED, TaskName
from sweeper.tasks.task import Task

# "Strange behavior with Adam optimizer when training for too long": the first losses posted.
POSTED = [91.74887, 76.85825, 63.43408, 51.46927, 40.94289, 31.81937]


def build(name: str, **args: object) -> Task:
    return TaskName(name, args).build()


def adam_losses(task: Task, seed: int, steps: int, lr: float = 1e-3) -> list[float]:
    """Plain torch, as the question has it."""
    model = task.initial(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
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


def test_an_image_is_a_function_of_the_seed_and_its_number() -> None:
    (few, labels), (many, others) = draw(20, 12, 3), draw(40, 12, 3)
    assert torch.equal(few, many[:20])
    assert torch.equal(labels, others[:20])
    assert not torch.equal(few, draw(20, 12, 4)[0])


def test_targets_of_images_are_of_one_size() -> None:
    images, targets = draw(4000, 8, 0)
    there = targets[:, 0] == 1
    assert there.float().mean() == pytest.approx(0.5, abs=0.03)
    assert (targets[~there] == 0).all()
    found = targets[there][:, 1:]
    assert found.mean(0).tolist() == pytest.approx([0] * 5, abs=0.08)
    # Uniform angles: sine and cosine have variance 1/2; the others were scaled to 1.
    assert found.var(0).tolist() == pytest.approx([0.5, 0.5, 1, 1, 1], abs=0.08)
    # What is there is seen: without an object an image is noise of 0.05.
    assert images[~there].std() == pytest.approx(0.05, rel=0.05)
    assert images[there].amax((1, 2, 3)).min() > 0.3


def test_clipping_by_average_norm_is_that_of_tensorflow() -> None:
    x = torch.tensor([[30.0, -40.0], [0.0, 0.0]])  # norm 50, average 12.5
    torch.testing.assert_close(clip_by_average_norm(x, 2.0), x * 2 / 12.5)
    torch.testing.assert_close(clip_by_average_norm(x, 13.0), x)
    assert (clip_by_average_norm(torch.zeros(2, 2), 2.0) == 0).all()


def test_the_character_model_starts_as_ignorant_as_can_be() -> None:
    task = build("char_lm", batch_size=64)
    inputs, targets = task.batch(0, 0)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    model = task.initial(0)
    assert task.loss(model(inputs), targets).item() == pytest.approx(
        np.log(model.head.out_features), rel=0.06
    )
    # A character sees none that come after it.
    changed = inputs.clone()
    changed[:, 20:] = 0
    torch.testing.assert_close(model(changed)[:, :20], model(inputs)[:, :20])


def test_separable_points_can_be_separated() -> None:
    task = build("logistic")
    losses = adam_losses(task, 0, 2000, lr=0.1)
    assert losses[-1] < 0.01
    assert losses[-1] < losses[1000] < losses[500]
    assert set(task.data[1].tolist()) == {-1.0, 1.0}


def test_surfaces_have_their_minima_where_they_say() -> None:
    def at(height: Any, x: float, y: float) -> tuple[float, list[float]]:
        point = torch.tensor([x, y], dtype=torch.float64, requires_grad=True)
        value = height(point[0], point[1])
        (slope,) = torch.autograd.grad(value, point)
        return value.item(), slope.tolist()

    assert at(saddle.saddle, 0, 1) == (pytest.approx(-0.25), pytest.approx([0, 0]))
    assert at(saddle.saddle, 0, 0) == (0, [0, 0])
    # The slope of the other valley reaches each: less than 1e-4 of its depth.
    for y in (-1.0, 1.0):
        height, slope = at(saddle.two_minima, 0, y)
        assert height == pytest.approx(-1, abs=1e-4)
        assert slope == pytest.approx([0, 0], abs=1e-3)


@pytest.mark.parametrize("name", ["valley", "saddle"])
def test_the_noise_of_a_surface_has_mean_0_and_the_size_asked_for(name: str) -> None:
    task = build(name, noise=0.5)
    tilts = task.data[0]
    assert tilts.mean(0).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert tilts.square().mean(0).sqrt().tolist() == pytest.approx([0.5, 0.5], rel=1e-5)
    assert task.batch_size == 1
    assert build(name, noise=0).batch_size is None


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("multitask", {"images": 3}, "an int from 20"),
        ("multitask", {"batch_size": 4501}, "an int from 1 to 4500"),
        ("char_lm", {"heads": 64}, "an int from 1 to 32"),
        ("valley", {"steepness": "high"}, "a number from 1 to 1e"),
        ("saddle", {"surface": "monkey"}, "saddle, two_minima"),
        ("logistic", {"points": True}, "an int from 2"),
        ("perceptrn", {}, "Did you mean 'perceptron'?"),
        ("perceptron", {"data_sed": 1}, "Did you mean 'data_seed'?"),
        ("perceptron", {"data_seed": -1}, "an int >= 0"),
        ("digits", {"batch_size": 0}, "an int from 1 to 1437"),
        ("digits", {"hidden": "many"}, "task_args.hidden"),
        ("no_such_module_here:build", {}, "no module"),
        ("sweeper.tasks.bundled.digits:nothing", {}, "no function"),
        ("sweeper.tasks.bundled.digits:_HELD_OUT", {}, "no function '_HELD_OUT'"),
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
