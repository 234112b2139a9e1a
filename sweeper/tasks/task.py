"""The Task seam: a model, a loss and data, as a user writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from sweeper.errors import SweepError
from sweeper.tasks import batches, randomness
from sweeper.tasks.functions import Functions
from sweeper.tasks.loading import Loader
from sweeper.tasks.parts import Part, each, tensors

PackedLoss = Callable[[dict[str, Tensor], Tensor, Tensor], Tensor]
"""(parameters by name [K, ...], inputs, targets) -> losses [K]."""


_CHOICES = {"batches": ("own", "shared"), "mixed_precision": (None, "bfloat16")}


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What is trained.

    Args:
        model: builds the model; called under `torch.random.fork_rng` with `manual_seed(seed)`.
        loss: `loss(output, target)`, a scalar tensor.
        data: `(inputs, targets)`, `N` samples each, on the CPU; moved to the device once. Each is
            a tensor or a tuple of tensors, `model(*inputs)` and `loss(output, targets)` then. Or a
            `torch.utils.data.Dataset` of pairs (input, target) with a length, loaded by workers
            batch by batch.
        batch_size: samples per step, drawn without replacement within an epoch as a pure function
            of (seed, step), an incomplete last batch dropped; None is the full batch.
        batches: `own`, every seed has an order of its own; or `shared`, runs of all seeds see the
            same batch at the same step, so that one loader feeds all runs of a pack.
        evaluate: metrics of a trained model, e.g. held-out accuracy; called at the end of a run,
            the model in eval mode.
        init: initial parameters by name for a seed, where the model's own are not wanted.
        packed_loss: for the full batch, a faster form of the same loss for K rows at once; each
            loss must depend on the parameters of its own row only.
        floor: smallest loss that is not rounding, from (eps of the dtype, first loss); default
            eps * L[0].
        collate: makes a batch of a list of samples of a Dataset; default torch's.
        mixed_precision: `bfloat16` computes forward and backward under torch.autocast; parameters
            and optimizer state keep their dtype. None for all in one dtype.
        allow_unpacked: train the rows one by one where the model can't be packed.
    """

    model: Callable[[], nn.Module]
    loss: Callable[[Any, Any], Tensor]
    data: Any
    batch_size: int | None = None
    batches: Literal["own", "shared"] = "own"
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None
    init: Callable[[int], Mapping[str, Tensor]] | None = None
    packed_loss: PackedLoss | None = None
    floor: Callable[[float, float], float] = field(default=lambda eps, first: eps * first)
    collate: Callable[[list[Any]], Any] | None = None
    mixed_precision: Literal["bfloat16"] | None = None
    allow_unpacked: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", _as_tuples(self.data))
        _check_data(self.data)
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise SweepError(
                    f"{getattr(self, name)!r}", where=name, allowed=" or ".join(map(str, allowed))
                )
        size = self.batch_size
        if size is None:
            return
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= self.size:
            raise SweepError(
                f"a batch of {size!r}",
                where="batch_size",
                allowed=f"1 to {self.size} samples, the size of the data set",
            )

    @property
    def in_memory(self) -> bool:
        """Whether the data are tensors; else they are a Dataset."""
        return isinstance(self.data, tuple)

    @property
    def size(self) -> int:
        """N, samples of the data set."""
        return len(tensors(self.data[0])[0]) if self.in_memory else len(self.data)

    @property
    def epoch_steps(self) -> int:
        """Steps of one epoch; 1 for the full batch."""
        return 1 if self.batch_size is None else self.size // self.batch_size

    def indices(self, seed: int, first: int, steps: int) -> np.ndarray:
        """Samples of `steps` batches from step `first` on, int64 `[steps, B]`."""
        if self.batch_size is None:
            return np.tile(np.arange(self.size), (steps, 1))
        return batches.indices(self.stream(seed), first, steps, self.size, self.batch_size)

    def stream(self, seed: int) -> int:
        """Seed of the batches of a run."""
        return 0 if self.batches == "shared" else seed

    def batch(self, seed: int, step: int) -> tuple[Part, Part]:
        """The batch of a run of that seed at that step, on the CPU."""
        if self.in_memory and self.batch_size is None:
            inputs, targets = self.data
            return inputs, targets
        chosen = self.indices(seed, step, 1)[0]
        if self.in_memory:
            inputs, targets = (each(lambda one: one[chosen], part) for part in self.data)
            return inputs, targets
        wish = (self.stream(seed), step, tuple(chosen.tolist()))
        return next(Loader(self.data, self.collate).load([wish]))

    def initial(self, seed: int) -> nn.Module:
        """The model as a run of that seed starts, on the CPU in float32, in training mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.model()
        if not isinstance(model, nn.Module):
            raise SweepError(
                f"`model` gave {type(model).__name__}",
                where="task",
                allowed="a class or function that returns a torch.nn.Module",
            )
        if self.init is not None:
            model.load_state_dict(dict(self.init(seed)))
        return model.train()

    def precision(self, device: str | torch.device = "cpu") -> AbstractContextManager[Any]:
        """Within it forward and loss are computed as `mixed_precision` says."""
        if self.mixed_precision is None:
            return nullcontext()
        # The cache would keep casts of one run's parameters for the next.
        kind = torch.device(device).type
        return torch.autocast(kind, torch.bfloat16, cache_enabled=False)

    @contextmanager
    def step(self, seed: int, step: int, device: str = "cpu") -> Iterator[Functions]:
        """Within it a forward draws the random numbers of that run at that step.

        To replay a run by hand:

            inputs, target = task.batch(seed, step)
            with task.step(seed, step):
                loss = task.loss(model(inputs), target)
        """
        key = int(randomness.keys(seed, step, 1)[0])
        functions = Functions(torch.tensor(key, device=device))
        with randomness.seeded(key, torch.device(device)), functions:
            yield functions


def _as_tuples(data: Any) -> Any:
    """Data in memory as a pair of parts; lists, and a TensorDataset of two, are such as well."""
    if isinstance(data, TensorDataset) and len(data.tensors) == 2:
        data = data.tensors
    if isinstance(data, tuple | list):
        return tuple(tuple(part) if isinstance(part, list) else part for part in data)
    return data


def _check_data(data: object) -> None:
    """Refuse what isn't a data set that can be indexed."""
    if isinstance(data, IterableDataset):
        raise SweepError(
            "an IterableDataset",
            where="data",
            allowed="a Dataset with __getitem__ and __len__",
            cure="A batch must be a function of (seed, step): index the samples.",
        )
    if isinstance(data, Dataset):
        if not hasattr(data, "__len__") or not len(data):
            raise SweepError("a Dataset without samples or without __len__", where="data")
        return
    if not isinstance(data, tuple) or len(data) != 2:
        raise SweepError(
            f"{type(data).__name__}", where="data", allowed="(inputs, targets), or a Dataset"
        )
    lengths = []
    for part in data:
        for one in part if isinstance(part, tuple) else (part,):
            if not isinstance(one, Tensor) or one.ndim == 0:
                raise SweepError(
                    f"{type(one).__name__} in the data",
                    where="data",
                    allowed="tensors with the samples along the first dimension",
                )
            lengths.append(len(one))
    if len(set(lengths)) != 1:
        counts = " and ".join(str(length) for length in lengths)
        raise SweepError(f"inputs and targets have {counts} samples", where="data")
    if not lengths[0]:
        raise SweepError("no sample", where="data")
