"""The Task seam: a model, a loss and data, as a user writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from sweeper.errors import SweepError
from sweeper.tasks import batches

PackedLoss = Callable[[dict[str, Tensor], Tensor, Tensor], Tensor]
"""(parameters by name [K, ...], inputs, targets) -> losses [K]."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained.

    Args:
        model: builds the model; called under `torch.random.fork_rng` with `manual_seed(seed)`.
        loss: `loss(output, target)`, a scalar tensor.
        data: `(inputs, targets)`, `N` samples each, on the CPU; moved to the device once.
        batch_size: samples per step, drawn without replacement within an epoch as a pure function
            of (seed, step), an incomplete last batch dropped; None is the full batch.
        evaluate: metrics of a trained model, e.g. held-out accuracy; called at the end of a run.
        init: initial parameters by name for a seed, where the model's own are not wanted.
        packed_loss: for the full batch, a faster form of the same loss for K rows at once; each
            loss must depend on the parameters of its own row only.
        floor: smallest loss that is not rounding, from (eps of the dtype, first loss); default
            eps * L[0].
    """

    model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    data: tuple[Tensor, Tensor]
    batch_size: int | None = None
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None
    init: Callable[[int], Mapping[str, Tensor]] | None = None
    packed_loss: PackedLoss | None = None
    floor: Callable[[float, float], float] = field(default=lambda eps, first: eps * first)

    def __post_init__(self) -> None:
        inputs, targets = self.data
        if len(inputs) != len(targets):
            raise SweepError(f"{len(inputs)} inputs but {len(targets)} targets", where="data")
        size = self.batch_size
        if size is not None and not 1 <= size <= len(inputs):
            raise SweepError(
                f"a batch of {size}", where="batch_size", allowed=f"1 to {len(inputs)} samples"
            )

    @property
    def epoch_steps(self) -> int:
        """Steps of one epoch; 1 for the full batch."""
        return 1 if self.batch_size is None else len(self.data[0]) // self.batch_size

    def indices(self, seed: int, first: int, steps: int) -> np.ndarray:
        """Samples of `steps` batches from step `first` on, int64 `[steps, B]`."""
        assert self.batch_size is not None
        return batches.indices(seed, first, steps, len(self.data[0]), self.batch_size)

    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a run of that seed at that step (the full data for the full batch)."""
        if self.batch_size is None:
            return self.data
        chosen = torch.from_numpy(self.indices(seed, step, 1)[0])
        return self.data[0][chosen], self.data[1][chosen]

    def initial(self, seed: int) -> nn.Module:
        """The model as a run of that seed starts, on the CPU in float32."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.model()
        if self.init is not None:
            model.load_state_dict(dict(self.init(seed)))
        return model
