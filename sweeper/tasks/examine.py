"""What a task's model is like, and what is wrong with it: tried before anything is launched.

The model runs for a batch as anybody would run it, then two models at once as packs do. What can't
be packed is found here, with the module where it happens and the cure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from sweeper.errors import SweepError
from sweeper.tasks import randomness
from sweeper.tasks.forward import Forward, places
from sweeper.tasks.layout import Form, Layout, others
from sweeper.tasks.moving import moved_model
from sweeper.tasks.parts import Part, each, moved
from sweeper.tasks.task import Task
from sweeper.tasks.trial_batches import trial_batches
from sweeper.tasks.unpacked import row_gradient

_Found = TypeVar("_Found")
# How far the gradients of a model alone and packed may differ, of their largest element.
_TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-3}
_MIXED_TOLERANCE = 0.5  # bfloat16 has 8 bits, and gradients cancel
# By what torch says under vmap: what it means, and what a user can do.
_MEANINGS = (
    (
        "data-dependent control flow",
        "a number or a branch (`if`, .item(), float()) depends on the values of a tensor",
        "Use torch.where, and leave numbers in their tensors",
    ),
    (
        "inplace arithmetic",
        "a new tensor is filled in place with values of the run's own",
        "Make it with x.new_zeros(...), x a tensor of the run, or not in place",
    ),
    (
        "Batching rule not implemented",
        "",
        "Write it with other functions (in place of nn.LSTM: nn.LSTMCell in a loop)",
    ),
    (
        "dynamic shape",
        "the shape of a tensor depends on the values of another",
        "Use torch.where",
    ),
    ("random call", "", "Draw with torch.rand, randn, bernoulli or a dropout layer"),
)


@lru_cache(maxsize=4)
def examine(task: Task, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Form:
    """The form of a task's model.

    Raises:
        SweepError: the model or the loss fails on the task's data, the loss isn't a scalar,
            nothing can be trained; or it can't be packed, unless the task allows that.
    """
    where = torch.device(device)
    models = [moved_model(_built(task, seed), where, dtype) for seed in (0, 1)]
    _refuse_shared_parameters(*models)
    batches = [(moved(i, where, dtype), moved(t, where, dtype)) for i, t in trial_batches(task)]
    trial = _Trial(task, models, batches[0])
    form, trouble = trial.form()
    trial.refuse_memory(form)
    for batch in batches[1:]:
        _Trial(task, models, batch).gradient(form, 0)
    trouble = trouble or trial.packed_trouble(form)
    if trouble and not task.allow_unpacked:
        raise SweepError(
            f"the model can't be packed: {trouble}", where="task", cure=_cure(trouble)
        )
    return replace(form, trouble=trouble)


class _Trial:
    """Two models, of the seeds 0 and 1, on one batch."""

    def __init__(self, task: Task, models: list[nn.Module], batch: tuple[Part, Part]) -> None:
        self._task, self._models, self._batch = task, models, batch
        device = next(models[0].parameters(), torch.empty(0)).device
        self._keys = [
            torch.tensor(int(randomness.keys(seed, 0, 1)[0]), device=device) for seed in (0, 1)
        ]

    def form(self) -> tuple[Form, str]:
        """The form, and which random call can't be packed; empty when none."""
        layout, named = Layout.of(self._models[0]), others(self._models[0])
        whole, refused = Form(layout, tuple(named), changing=tuple(named)), ""
        forward = Forward(self._task, whole, self._models[0])
        row, own = layout.flatten(self._models[0]), whole.own_of(self._models[0])
        (inputs, targets), key = self._batch, self._keys[0]

        def run() -> dict[str, Tensor]:
            with randomness.seeded(int(key), row.device):
                return forward(row, own, inputs, targets, key)[1]

        try:
            with _NoRandomCalls():
                after = self._at(forward, run)
        except _RandomCallError as error:
            refused, after = str(error), run()
        statistics = _running_statistics(self._models[0])
        changing = [
            name
            for name, tensor in named.items()
            if name in statistics or after[name]._version or not torch.equal(after[name], tensor)
        ]
        second = others(self._models[1])
        shared = {
            name: tensor
            for name, tensor in named.items()
            if name not in changing and torch.equal(tensor, second[name])
        }
        own_names = tuple(name for name in named if name not in shared)
        form = Form(layout, own_names, shared, tuple(changing), forward.calls > 0)
        return form, refused

    def gradient(self, form: Form, seed: int) -> Tensor:
        """That of one model alone, `[P]`."""
        model = self._models[seed]
        forward = Forward(self._task, form, model)
        row, own, (inputs, targets) = form.layout.flatten(model), form.own_of(model), self._batch
        key = self._keys[seed]
        return self._at(forward, lambda: row_gradient(forward, row, own, inputs, targets, key)[0])

    def packed_trouble(self, form: Form) -> str:
        """Why the two models can't be packed; empty when they can."""
        forward = Forward(self._task, form, self._models[0])
        rows = torch.stack([form.layout.flatten(model) for model in self._models])
        pairs = [form.own_of(model) for model in self._models]
        own = {name: torch.stack([one[name] for one in pairs]) for name in form.own}
        inputs, targets = (each(lambda one: torch.stack([one, one]), p) for p in self._batch)
        packed = vmap(grad_and_value(forward, has_aux=True))
        with places(forward.model) as running:
            try:
                grads = packed(rows, own, inputs, targets, torch.stack(self._keys))[0]
            except Exception as error:
                return f"{_place(running)}: {_said(error)}"
        alone = torch.stack([self.gradient(form, seed) for seed in (0, 1)])
        limit = _TOLERANCE[rows.dtype] if not self._task.mixed_precision else _MIXED_TOLERANCE
        gap = _gap(grads, alone)
        return f"packed, its gradient differs by {gap:.1g} of its size" if gap > limit else ""

    def refuse_memory(self, form: Form) -> None:
        """Refuse a forward that remembers: a run would depend on whatever ran before."""
        gap = _gap(self.gradient(form, 0), self.gradient(form, 0))
        if gap > _TOLERANCE[torch.float32]:
            raise SweepError(
                f"computed twice, the gradient differs by {gap:.1g} of its size: something in "
                "the forward or the loss isn't a function of its tensors",
                where="task",
                cure="Keep no counters outside buffers, and draw no random numbers from Python "
                "or NumPy.",
            )

    def _at(self, forward: Forward, function: Callable[[], _Found]) -> _Found:
        """What the function gives; an error says in which module it was."""
        with places(forward.model) as running:
            try:
                return function()
            except SweepError:
                raise
            except _RandomCallError as error:
                raise _RandomCallError(f"{_place(running)}: {error}") from error
            except Exception as error:
                raise SweepError(
                    f"{_place(running)} fails on the task's data: {_said(error)}", where="task"
                ) from error


class _RandomCallError(Exception):
    """A forward draws random numbers that would depend on the neighbours in a pack."""


class _NoRandomCalls(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise _RandomCallError(f"random call {func._schema.name.removeprefix('aten::')}")
        return func(*args, **(kwargs or {}))


def _refuse_shared_parameters(first: nn.Module, second: nn.Module) -> None:
    """Refuse a model function that hands out the same layers at every call."""
    known = {id(parameter) for parameter in first.parameters()}
    for name, parameter in second.named_parameters():
        if id(parameter) in known:
            raise SweepError(
                f"two models share the parameter {name!r}, so that runs would train each other's",
                where="model",
                cure="Make every layer within the function that `model` is.",
            )


def _running_statistics(model: nn.Module) -> set[str]:
    """Buffers of normalisation layers: their kernels write them without a trace."""
    norms = nn.modules.batchnorm._NormBase
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, norms)
        for name, _ in module.named_buffers(recurse=False)
    }


def _built(task: Task, seed: int) -> nn.Module:
    try:
        return task.initial(seed)
    except SweepError:
        raise
    except Exception as error:
        raise SweepError(f"the model can't be built: {_said(error)}", where="task") from error


def _gap(found: Tensor, right: Tensor) -> float:
    """Largest difference, as a share of the largest element."""
    return float((found - right).abs().max() / right.abs().max().clamp_min(1e-30))


def _place(running: list[str]) -> str:
    return running[-1] if running else "the loss"


def _said(error: Exception) -> str:
    """The error in a line."""
    for words, meaning, _ in _MEANINGS:
        if meaning and words in str(error):
            return meaning
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _cure(trouble: str) -> str:
    rest = "set allow_unpacked: true: its runs are then trained one by one."
    for words, meaning, cure in _MEANINGS:
        if words in trouble or (meaning and meaning in trouble):
            return f"{cure}; or {rest}"
    return rest[0].upper() + rest[1:]
