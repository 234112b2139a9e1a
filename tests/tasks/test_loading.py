"""A Dataset gives the same numbers as tensors, with any number of workers; its faults are said."""

from __future__ import annotations

import gc
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, StackDataset, TensorDataset

import sweeper
from sweeper.errors import SweepError
from sweeper.lane.pack import Machine, Pack
from sweeper.lane.run import Run
from sweeper.optim.configuration import Program
from sweeper.tasks.loading import Loader
from sweeper.tasks.task import Task

X = torch.randn(30, 3, generator=torch.Generator().manual_seed(2))
Y = X.sum(1, keepdim=True)
ADAM = {"optimizer": "adam", "lr": 0.01}


class Samples(Dataset[Any]):
    """Those of X and Y."""

    def __init__(self) -> None:
        self.read: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        self.read[index] += 1
        return X[index], Y[index]


class Augmented(Samples):
    """With random numbers of every kind that people use."""

    def __getitem__(self, index: int) -> Any:
        noise = torch.rand(3)
        noise[0] += np.random.rand()  # noqa: NPY002 - what people write
        noise[1] += random.random()
        return X[index] + noise, Y[index]


def task_of(data: Any, **changes: Any) -> Task:
    model = lambda: nn.Linear(3, 1)  # noqa: E731
    given: dict[str, Any] = {"model": model, "loss": F.mse_loss, "batch_size": 4, **changes}
    return Task(data=data, **given)


def losses(task: Task, loaders: int = 0, **given: Any) -> np.ndarray:
    settings: dict[str, Any] = {"seeds": (0, 3), "horizon": 20, "dtype": "float64", **given}
    return sweeper.train(
        task, [ADAM], loaders=loaders, device="cpu", compiled=False, **settings
    ).loss


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    yield
    gc.collect()  # a test may hold its error, with the loader in a frame
    assert torch.multiprocessing.active_children() == []


@pytest.mark.parametrize("batch_size", [None, 4, 30])
@pytest.mark.parametrize("batches", ["own", "shared"])
def test_a_dataset_is_its_tensors(batches: str, batch_size: int | None) -> None:
    given = {"batches": batches, "batch_size": batch_size}
    # The full batch of tensors is another form of the same product.
    np.testing.assert_allclose(
        losses(task_of(Samples(), **given)), losses(task_of((X, Y), **given)), rtol=1e-12
    )


def test_a_compiled_step_takes_loaded_batches() -> None:
    found = sweeper.train(task_of(Samples()), [ADAM], horizon=20, device="cpu", dtype="float64")
    np.testing.assert_allclose(found.loss[0], losses(task_of(Samples()))[0], rtol=1e-10)


def test_the_number_of_workers_does_not_matter() -> None:
    found = [losses(task_of(Augmented()), loaders) for loaders in (0, 1, 2)]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    assert not np.array_equal(found[0], losses(task_of(Samples())))


def test_chunks_and_slots_do_not_matter() -> None:
    """Augmentations belong to (seed, step), wherever a run stands."""

    def found(chunks: tuple[int, ...], others: int) -> np.ndarray:
        pack = Pack(task_of(Augmented()), Program("adam"), 3, Machine(compiled=False))
        for other in range(others):
            pack.place(Run(other + 1, 1, ADAM, other, 100))
        pack.train(10) if others else None  # the others are ten steps ahead
        slot = pack.place(Run(0, 0, ADAM, 8, 30))
        return np.concatenate([pack.train(chunk)[:, 0, slot] for chunk in chunks])

    assert np.array_equal(found((30,), 0), found((10, 20), 2))


def test_a_batch_by_hand_is_that_of_the_pack() -> None:
    task = task_of(Augmented())
    model = task.initial(3).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    expected = []
    for step in range(20):
        inputs, target = task.batch(3, step)
        loss = task.loss(model(inputs.double()), target.double())
        expected.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(losses(task)[1], expected, rtol=1e-10)


def test_global_random_numbers_stay_as_they_were() -> None:
    def drawn() -> tuple[float, float, float]:
        return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002

    def seed() -> None:
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)

    task = task_of(Augmented())
    for loaders in (0, 1):
        seed()
        expected = drawn()
        seed()
        losses(task, loaders, horizon=3)
        assert drawn() == expected, loaders


def test_shared_batches_are_loaded_once_for_all_rows() -> None:
    data = Samples()
    pack = Pack(task_of(data, batches="shared"), Program("adam"), 4, Machine(compiled=False))
    for seed in range(4):
        pack.place(Run(seed, seed, ADAM, seed, 100))
    data.read.clear()
    pack.train(20)
    assert data.read.total() == 20 * 4


def test_own_batches_are_loaded_for_every_row() -> None:
    data = Samples()
    pack = Pack(task_of(data), Program("adam"), 4, Machine(compiled=False))
    for seed in range(3):  # the empty slot takes one of theirs
        pack.place(Run(seed, seed, ADAM, seed, 100))
    data.read.clear()
    pack.train(20)
    assert data.read.total() == 3 * 20 * 4


def test_an_epoch_reads_every_sample_once() -> None:
    data = Samples()
    task = task_of(data, batch_size=5)
    for step in range(12, 18):
        task.batch(4, step)
    assert data.read == Counter(range(30))


def test_shared_batches_are_those_of_every_seed() -> None:
    shared, own = (task_of(Augmented(), batches=kind) for kind in ("shared", "own"))
    assert torch.equal(shared.batch(0, 5)[0], shared.batch(9, 5)[0])
    assert not torch.equal(own.batch(0, 5)[0], own.batch(9, 5)[0])
    assert not torch.equal(shared.batch(0, 5)[0], shared.batch(0, 6)[0])


class Odd(Samples):
    """With one sample that is not like the others."""

    def __init__(self, sample: Any, at: tuple[int, ...] = (17,)) -> None:
        super().__init__()
        self.sample, self.at = sample, at

    def __getitem__(self, index: int) -> Any:
        if index not in self.at:
            return X[index], Y[index]
        return self.sample() if callable(self.sample) else self.sample


def fails() -> Any:
    raise ValueError("a broken file")


@pytest.mark.parametrize("loaders", [0, 2])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            Odd((torch.zeros(4), Y[0])),
            r"data: the batch of step \d+ \(seed \d\) can't be loaded: ",
        ),
        (Odd((X[0], None)), r"can't be loaded: (Type|Attribute)Error: .*NoneType"),
        (
            Odd(fails),
            r"(?s)step \d+ \(seed \d\) .*: ValueError: a broken file\n.*py:\d+ in fails: raise",
        ),
        (Odd(X[0], tuple(range(30))), "data: a batch is Tensor; a Dataset gives pairs"),
        (Odd({"x": X[0]}, tuple(range(30))), "data: a batch is dict; a Dataset gives pairs"),
        (Odd(({"x": X[0]}, Y[0]), tuple(range(30))), "data: dict in the input of a batch"),
        (Odd((X[0], "cat"), tuple(range(30))), "data: str in the target of a batch"),
        (Odd(((X[0], (X[0], X[0])), Y[0]), tuple(range(30))), "data: list in the input of a"),
        (Odd(((), Y[0]), tuple(range(30))), "data: (list|tuple) in the input of a batch; it is"),
        (Odd((X[0], Y[0], 3), tuple(range(30))), "data: a batch is (list|tuple); a Dataset gives"),
    ],
)
def test_samples_that_cannot_be_used(data: Odd, says: str, loaders: int) -> None:
    with pytest.raises(SweepError, match=says):
        losses(task_of(data), loaders)


class Growing(Samples):
    """Samples of another length for every batch."""

    def __getitem__(self, index: int) -> Any:
        return torch.ones(3 if random.random() < 0.5 else 4), Y[index]


@pytest.mark.parametrize("loaders", [0, 1])
def test_shapes_that_change_between_batches(loaders: int) -> None:
    task = task_of(
        Growing(),
        batch_size=1,
        model=lambda: nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Linear(1, 1)),
    )
    says = (
        r"samples of step \d+ \(seed \d\) have the shapes "
        r"\[[34]\] and \[1\], those before \[[34]\] and \[1\]. Crop or pad"
    )
    with pytest.raises(SweepError, match=says):
        losses(task, loaders)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield X[0], Y[0]


class Unsized(Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        return X[index], Y[index]


class Empty(Samples):
    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (Endless(), "data: an IterableDataset; allowed: a Dataset with __getitem__ and __len__"),
        (Unsized(), "data: a Dataset without samples or without __len__"),
        (Empty(), "data: a Dataset without samples or without __len__"),
        (TensorDataset(X[:0], Y[:0]), "data: no sample"),
        ((X, Y.numpy()), "data: ndarray in the data"),
        (X, "data: Tensor; allowed: .inputs, targets., or a Dataset"),
        ((X, Y, Y), "data: tuple; allowed"),
    ],
)
def test_data_that_are_no_data_set(data: Any, says: str) -> None:
    with pytest.raises(SweepError, match=says):
        task_of(data, batch_size=None)


@pytest.mark.parametrize("size", [0, 31, True, 2.0, "4"])
def test_a_batch_larger_than_the_data_set(size: Any) -> None:
    with pytest.raises(SweepError, match=r"batch_size: a batch of .*1 to 30 samples"):
        task_of(Samples(), batch_size=size)


class Ragged(Samples):
    def __getitem__(self, index: int) -> Any:
        return X[index, : 1 + index % 3], Y[index]


def padded(samples: list[Any]) -> tuple[Tensor, Tensor]:
    """To the length three."""
    inputs = torch.stack([F.pad(x, (0, 3 - len(x))) for x, _ in samples])
    return inputs, torch.stack([y for _, y in samples])


@pytest.mark.parametrize("loaders", [0, 1])
def test_a_collate_of_the_users(loaders: int) -> None:
    whole, _ = padded([Ragged()[index] for index in range(30)])
    found = losses(task_of(Ragged(), collate=padded), loaders)
    assert np.array_equal(found, losses(task_of((whole, Y))))


def test_a_tensor_dataset_is_taken_as_tensors() -> None:
    task = task_of(TensorDataset(X, Y))
    assert task.in_memory and task.data[0] is X
    assert np.array_equal(losses(task), losses(task_of((X, Y))))


class Arrays(Samples):
    """As people have them: arrays in float64, and plain numbers."""

    def __getitem__(self, index: int) -> Any:
        return X[index].double().numpy(), index % 4


def test_arrays_and_numbers_become_tensors() -> None:
    given = {"model": lambda: nn.Linear(3, 4), "loss": F.cross_entropy}
    in_memory = losses(task_of((X, torch.arange(30) % 4), **given))
    assert np.array_equal(losses(task_of(Arrays(), **given)), in_memory)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.layer(x) * scale[:, None]


def weighed(found: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
    target, weight = targets
    return (weight[:, None] * (found - target) ** 2).mean()


@pytest.mark.parametrize("loaders", [0, 1])
@pytest.mark.parametrize("batches", ["own", "shared"])
def test_tuples_of_inputs_and_targets(batches: str, loaders: int) -> None:
    scale, weight = X[:, 0].exp(), X[:, 1].abs()
    data = StackDataset(StackDataset(X, scale), StackDataset(Y, weight))
    given = {"model": Two, "loss": weighed, "batches": batches}
    in_memory = losses(task_of(((X, scale), (Y, weight)), **given))
    assert np.array_equal(losses(task_of(data, **given), loaders), in_memory)


def test_a_loader_can_be_left_in_the_middle() -> None:
    loader = Loader(Samples(), None, 1)
    wishes = [(0, step, (step, step + 1)) for step in range(8)]
    for _ in loader.load(wishes):
        break
    found = [inputs for inputs, _ in loader.load(wishes[3:])]
    assert torch.equal(found[0], X[3:5]) and len(found) == 5


@pytest.mark.parametrize("batches", ["own", "shared"])
@pytest.mark.parametrize("loaders", [0, 1])
def test_rows_of_one_stream_may_be_steps_apart(batches: str, loaders: int) -> None:
    """A run that begins later needs what another has had: it loads it again."""
    task = task_of(Augmented(), batches=batches)
    pack = Pack(task, Program("adam"), 3, Machine("cpu", "float64", False, loaders))
    pack.place(Run(0, 0, ADAM, 5, 40))
    first = pack.train(7)[:, 0, 0]
    pack.place(Run(1, 1, ADAM, 5, 40))
    both = pack.train(20)[:, 0]
    np.testing.assert_array_equal(np.concatenate([first, both[:13, 0]]), both[:20, 1])
