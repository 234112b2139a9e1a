"""Gradients of K models at once: an ordinary torch module packed by torch.func.

`K` rows, `P` parameters of one model, `B` batch size, `N` samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vmap

from sweeper.optim.step import Gradient
from sweeper.tasks.forward import Forward
from sweeper.tasks.layout import Form, Layout
from sweeper.tasks.moving import moved_model
from sweeper.tasks.parts import Part, each
from sweeper.tasks.task import PackedLoss, Task
from sweeper.tasks.unpacked import one_by_one


class Context(TypedDict):
    """What a step needs beside parameters and data, where the form of the model says so.

    Args:
        key: int64 `[K]`, of every row's step.
        active: bool `[K]`; the own tensors of other rows stay as they are.
        own: `[K, ...]` by name; changed in place.
    """

    key: Tensor
    active: Tensor
    own: dict[str, Tensor]


def packed_gradient(
    task: Task,
    form: Form,
    theta: Tensor,
    data: tuple[Part, Part] | None,
    *,
    twice: bool = False,
) -> Gradient:
    """Gradient and loss of every row, in the fastest form whose rows don't depend on their slot.

    A product with data that all rows share is one large matrix product, several times faster than
    K small ones; but some libraries round its columns differently by position (float64 on x86).
    The form is therefore tried once with equal rows, and given up where they come out different.

    Args:
        task: what is trained.
        form: of the task's model.
        theta: `[K, P]`; shape, dtype and device of the pack. Not read.
        data: inputs and targets on the device; None where batches are loaded.
        twice: whether the gradient is to be differentiated.

    Returns:
        A function of theta and: for the full batch nothing, for data on the device the batch
        indices `[K, B]`, for loaded batches inputs and targets `[K, B, ...]`. Where the form has a
        context, that follows.
    """
    model = moved_model(task.initial(0), theta.device, theta.dtype)
    forward = Forward(task, form, model, twice=twice)
    rows = one_by_one(forward) if form.trouble else _rows(forward, form, 0)
    if data is None:
        return rows
    if task.batch_size is not None:
        return _chosen(rows, data)
    if not form.trouble:
        fast = _rows(forward, form, None)
        if task.packed_loss is not None and not form.has_context:
            fast = _by_hand(task.packed_loss, form.layout)
        if _rows_agree(lambda *a: fast(a[0], *data, *a[1:]), form, model, theta):
            return lambda theta, *context: fast(theta, *data, *context)
    # Every row with a view of the data of its own: K small products of one shape.
    return lambda theta, *context: rows(
        theta, *(each(lambda o: o.expand(theta.shape[0], *o.shape), p) for p in data), *context
    )


def context_of(form: Form, model: torch.nn.Module, theta: Tensor) -> tuple[Context, ...]:
    """A context of equal rows at one step, for trials and probes; nothing where none is needed."""
    if not form.has_context:
        return ()
    count, device = theta.shape[0], theta.device
    own = {n: one.expand(count, *one.shape).clone() for n, one in form.own_of(model).items()}
    key = torch.zeros(count, dtype=torch.int64, device=device)
    return ({"key": key, "active": torch.ones_like(key, dtype=torch.bool), "own": own},)


def _chosen(gradient: Gradient, data: tuple[Part, Part]) -> Gradient:
    """The gradient as a function of the samples of every row."""

    def chosen(theta: Tensor, samples: Tensor, *context: Context) -> tuple[Tensor, Tensor]:
        batch = (each(lambda one: one[samples], part) for part in data)
        return gradient(theta, *batch, *context)

    return chosen


def _rows(forward: Forward, form: Form, data_dim: int | None) -> Gradient:
    """By vmap; `data_dim` is None where all rows share their data."""
    gradient: Callable[..., Any] = grad_and_value(forward, has_aux=True)
    if not form.has_context:
        key = torch.zeros((), dtype=torch.int64)
        plain = vmap(
            lambda row, inputs, targets: gradient(row, {}, inputs, targets, key),
            in_dims=(0, data_dim, data_dim),
        )

        def found(theta: Tensor, inputs: Part, targets: Part) -> tuple[Tensor, Tensor]:
            grads, (losses, _) = plain(theta, inputs, targets)
            return grads, losses

        return found
    whole = vmap(gradient, in_dims=(0, 0, data_dim, data_dim, 0))

    def with_context(
        theta: Tensor, inputs: Part, targets: Part, context: Context
    ) -> tuple[Tensor, Tensor]:
        grads, (losses, after) = whole(theta, context["own"], inputs, targets, context["key"])
        keep(context, after)
        return grads, losses

    return with_context


def keep(context: Context, after: dict[str, Tensor]) -> None:
    """Put the own tensors after a step in the place of those before, for active rows."""
    for name, tensor in after.items():
        before, active = context["own"][name], context["active"]
        active = active.view(-1, *(1 for _ in before.shape[1:]))
        before.copy_(torch.where(active, tensor.to(before.dtype), before))


def _by_hand(packed_loss: PackedLoss, layout: Layout) -> Gradient:
    """From the task's own packed loss: rows are independent, so the sum has their gradients."""

    def total(theta: Tensor, inputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        losses = packed_loss(layout.unflatten(theta), inputs, targets)
        return losses.sum(), losses

    return grad(total, has_aux=True)


def _rows_agree(gradient: Gradient, form: Form, model: torch.nn.Module, like: Tensor) -> bool:
    """Whether equal rows get bitwise equal gradients and losses in every slot."""
    row = form.layout.flatten(model)
    theta = row.expand(like.shape[0], -1).contiguous()
    grads, losses = gradient(theta, *context_of(form, model, theta))
    return bool((grads == grads[:1]).all()) and bool((losses == losses[:1]).all())
