"""The training loss of one run at one step, as a function of plain tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from sweeper.errors import SweepError
from sweeper.tasks.functions import Functions
from sweeper.tasks.layout import Form
from sweeper.tasks.parts import Part
from sweeper.tasks.task import Task


class Forward:
    """Of a task, for one row of a pack.

    Args:
        task: what is trained.
        form: of its model.
        model: gives the structure; on the device and in the dtype of the pack, not changed.
    """

    def __init__(self, task: Task, form: Form, model: nn.Module) -> None:
        self._task, self._form, self.model = task, form, model
        self.calls = 0  # random calls of the last forward

    def __call__(
        self,
        row: Tensor,
        own: Mapping[str, Tensor],
        inputs: Part,
        targets: Part,
        key: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss, and the changing ones of the own tensors after the step.

        Args:
            row: `[P]`.
            own: see Form.
            inputs, targets: of the batch.
            key: of the step, see randomness.keys.
        """
        state = {
            **self._form.shared,
            **{name: tensor.clone() for name, tensor in own.items()},
            **self._form.layout.unflatten(row),
        }
        arguments = (inputs,) if isinstance(inputs, Tensor) else inputs
        functions = Functions(key)
        with functions, self._task.precision(row.device):
            loss = self._task.loss(functional_call(self.model, state, arguments), targets)
        _check_loss(loss)
        self.calls = functions.calls
        return loss.to(row.dtype), {name: state[name] for name in self._form.changing}


def _check_loss(loss: object) -> None:
    if isinstance(loss, Tensor) and loss.ndim == 0 and loss.is_floating_point():
        return
    found = type(loss).__name__
    if isinstance(loss, Tensor):
        found = f"a tensor of {loss.dtype} with the shape {list(loss.shape)}"
    raise SweepError(
        f"the loss is {found}",
        where="loss",
        allowed="a scalar floating-point tensor",
        cure="Reduce it over the batch: loss.mean() or loss.sum().",
    )


@contextmanager
def places(model: nn.Module) -> Iterator[list[str]]:
    """Within it, the names of the modules whose forward is running, the innermost last.

    Where an error ends them, they say where it was.
    """
    running: list[str] = []

    def enter(name: str) -> Any:
        return lambda module, arguments: running.append(f"{name} ({type(module).__name__})")

    def leave(module: nn.Module, arguments: Any, output: Any) -> None:
        running.pop()

    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(enter(name or "the model")))
        hooks.append(module.register_forward_hook(leave))
    try:
        yield running
    finally:
        for hook in hooks:
            hook.remove()
