"""The state of a pack: K rows of parameters and optimizer state, and the run that each row has.

Rows need no lockstep: each has its own step and horizon. A row that has reached its horizon is
frozen (its learning rate is 0), and so is an empty slot. What a row is told by its run (settings,
horizon, step) stays on the host; see coefficients.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sweeper.errors import SweepError
from sweeper.optim.coefficients import Row, table
from sweeper.optim.configuration import Configuration
from sweeper.optim.rules import RULES
from sweeper.optim.rules.rule import Rule, Sizes

SavedRow = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Arena:
    """Tensors of a pack, changed in place.

    Args:
        rule: of every row.
        sizes: number of elements of every parameter tensor of the model, P together.
        theta: `[K, P]` parameters.
        state: the rule's state, `[K, P]` or `[K, 1]` each.
        previous: `[K, P]`, the update before, where its cosine with the next one is wanted.
        own: `[K, ...]` each, what runs have beside that, by name: running statistics of a model.
        decay_mask: `[P]`, 1 where weight decay applies; None for everywhere.
        extras: hyperparameters that need state of their own and may be set; see Rule.
        rows: what is in every slot; None where nothing is.
    """

    rule: Rule
    sizes: Sizes
    theta: Tensor
    state: dict[str, Tensor]
    previous: Tensor | None
    own: dict[str, Tensor]
    decay_mask: Tensor | None
    extras: frozenset[str]
    rows: list[Row | None]

    @classmethod
    def empty(
        cls,
        rule: Rule,
        capacity: int,
        sizes: Sizes,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        decay_mask: Tensor | None = None,
        extras: Collection[str] | None = None,
        keep_update: bool = False,
        own: Mapping[str, Tensor] | None = None,
    ) -> Arena:
        """An arena of `capacity` empty slots.

        Args:
            own: what one run has beside parameters and optimizer state; its shapes and dtypes.
            extras: hyperparameters that rows may set; None for all.
            keep_update: keep the last update of every row, which `update_cosine` needs.
        """
        size = sum(sizes)

        def zeros(width: int) -> Tensor:
            return torch.zeros(capacity, width, dtype=dtype, device=device)

        wanted = frozenset(rule.extras if extras is None else extras)
        state = {name: zeros(size) for name in rule.state_names(wanted)}
        state |= {name: zeros(1) for name in rule.scalars}
        mask = None if decay_mask is None else decay_mask.to(device, dtype)
        previous = zeros(size) if keep_update else None
        beside = {
            name: torch.zeros(capacity, *one.shape, dtype=one.dtype, device=device)
            for name, one in (own or {}).items()
        }
        slots: list[Row | None] = [None] * capacity
        return cls(rule, sizes, zeros(size), state, previous, beside, mask, wanted, slots)

    @property
    def capacity(self) -> int:
        return len(self.rows)

    def start(
        self,
        slot: int,
        theta: Tensor,
        configuration: Configuration,
        horizon: int,
        own: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Put a new run into a slot: parameters `theta` `[P]`, state zero, step 0."""
        self._check(configuration)
        self.clear(slot)
        self.theta[slot] = theta.to(self.theta)
        for name, tensor in (own or {}).items():
            self.own[name][slot] = tensor
        self.rows[slot] = Row(configuration, horizon)

    def load(self, slot: int, saved: SavedRow, configuration: Configuration, horizon: int) -> None:
        """Put a saved row back; continues bit-identically at the same capacity."""
        self._check(configuration)
        for name, tensor in self._tensors().items():
            tensor[slot] = saved[name].to(tensor)
        self.rows[slot] = Row(configuration, horizon, int(saved["step"]))

    def save(self, slot: int) -> SavedRow:
        """The row as plain tensors on the host, and its step."""
        row = self.rows[slot]
        assert row is not None, f"slot {slot} is empty"
        saved = {
            name: tensor[slot].detach().to("cpu", copy=True)
            for name, tensor in self._tensors().items()
        }
        return {**saved, "step": torch.tensor(row.step)}

    def clear(self, slot: int) -> None:
        """Empty a slot. Non-finite leftovers would be harmless but slow on some hardware."""
        for tensor in self._tensors().values():
            tensor[slot] = 0
        self.rows[slot] = None

    def move(self, source: int, target: int) -> None:
        """Move a row to an empty slot."""
        assert self.rows[target] is None, f"slot {target} is taken"
        for tensor in self._tensors().values():
            tensor[target] = tensor[source]
        self.rows[target] = self.rows[source]
        self.clear(source)

    def compact(self) -> dict[int, int]:
        """Move the rows to the first slots, in their order; returns new slot by old one."""
        taken = [slot for slot, row in enumerate(self.rows) if row is not None]
        moved = dict(zip(taken, range(len(taken)), strict=True))
        for source, target in moved.items():
            if source != target:
                self.move(source, target)
        return moved

    def coefficients(self, steps: int) -> Tensor:
        """The table of the next steps, `[steps, C, K]`, on the device in one copy."""
        values = torch.from_numpy(table(self.rule, self.rows, steps))
        return values.to(self.theta.dtype).to(self.theta.device)

    def advance(self, steps: int) -> None:
        """Note that every row has made so many steps, or come to its horizon."""
        for row in self.rows:
            if row is not None:
                row.step = min(row.step + steps, row.horizon)

    def _tensors(self) -> dict[str, Tensor]:
        kept = {} if self.previous is None else {"previous_update": self.previous}
        own = {f"own.{name}": tensor for name, tensor in self.own.items()}
        return {"theta": self.theta, **self.state, **kept, **own}

    def _check(self, configuration: Configuration) -> None:
        if configuration.rule != self.rule.name:
            raise SweepError(
                f"{configuration.optimizer} in a pack of {self.rule.name}",
                where="optimizer",
                allowed=f"optimizers of the rule {self.rule.name}",
            )
        missing = extras_of([configuration]) - self.extras
        if missing:
            raise SweepError(
                f"a pack without state for {', '.join(sorted(missing))}",
                where="optimizer",
                allowed=f"{', '.join(sorted(self.extras)) or 'nothing'} beside {self.rule.name}",
            )

    @property
    def clips_norm(self) -> bool:
        """Whether a row clips its gradient by norm, which then has to be known."""
        return any(
            row is not None and row.configuration.clip_norm is not None for row in self.rows
        )


def extras_of(configurations: Iterable[Configuration]) -> frozenset[str]:
    """The hyperparameters with state of their own that some of these set."""
    return frozenset(
        name
        for configuration in configurations
        for name in RULES[configuration.rule].extras
        if configuration.values[name]
    )
