"""How long runs are, where that is not said in steps: in epochs or samples of the task's data."""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from sweeper.spec_sections import Section


class Horizon(Section):
    """The length of a run in `epochs` or in `samples`: its steps follow from its batch size."""

    epochs: float | None = Field(default=None, gt=0)
    """Passes over the data; an incomplete last batch is dropped, as in training."""
    samples: float | None = Field(default=None, gt=0)
    """Samples that a run sees, at least."""
    dataset: int | None = Field(default=None, ge=1)
    """Samples of the task's data; filled in at launch."""
    batch_size: int | None = Field(default=None, ge=1)
    """The task's own batch size, null for the full batch; filled in at launch."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Horizon:
        if (self.epochs is None) == (self.samples is None):
            raise ValueError("{epochs: N} or {samples: N}")
        return self

    @property
    def is_resolved(self) -> bool:
        """Whether it is known how many samples the task has."""
        return self.dataset is not None

    def steps(self, batch_size: int | None) -> int:
        """Optimizer steps of a run of that batch size; None is the task's own."""
        assert self.dataset is not None, "only a launch knows the data"
        size = min(batch_size or self.batch_size or self.dataset, self.dataset)
        if self.samples is not None:
            return max(1, math.ceil(self.samples / size))
        assert self.epochs is not None
        # Rounded before: 0.1 * 30 is a little more than 3.
        return max(1, math.ceil(round(self.epochs * (self.dataset // size), 6)))

    def __str__(self) -> str:
        if self.epochs is not None:
            return f"{self.epochs:,g} epochs"
        return f"{self.samples:,g} samples"
