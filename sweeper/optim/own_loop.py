"""A configuration as an ordinary optimizer and scheduler, for a user's own training loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from sweeper.errors import SweepError
from sweeper.optim.configuration import Configuration, check_horizon, parse
from sweeper.optim.decay import has_decay
from sweeper.optim.rule_optimizer import RuleOptimizer
from sweeper.optim.scheduler import ScheduleLR

Parameters = nn.Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]]


def make_optimizer(
    params: Parameters, config: Mapping[str, Any], total_steps: int
) -> tuple[Optimizer, ScheduleLR]:
    """The optimizer and the scheduler of a configuration.

    It is torch's own class where that means exactly the same, ours elsewhere. Clipping happens
    within `optimizer.step()`. Call `scheduler.step()` after every `optimizer.step()`.

    Args:
        params: the model, its `named_parameters()` or its `parameters()`. `no_decay` needs names,
            its `norm` the model.
        config: e.g. `{"optimizer": "adamw", "lr": 3e-4, "schedule": "cosine"}`. `batch_size` and
            `task_args` in it are for your loop to heed: they are left out of account here.
        total_steps: steps of the whole run, >= 1: what fractions of the horizon refer to.

    Raises:
        SweepError: anything wrong in the configuration.
    """
    if isinstance(total_steps, bool) or not isinstance(total_steps, int) or total_steps < 1:
        raise SweepError(f"{total_steps!r}", where="total_steps", allowed="an int of steps >= 1")
    configuration = parse(config)
    check_horizon(configuration, total_steps)
    groups = _groups(params, configuration)
    optimizer = _torch_class(groups, configuration) or RuleOptimizer(groups, configuration)
    _clip_before_step(optimizer, configuration)
    return optimizer, ScheduleLR(optimizer, configuration.schedule, total_steps)


def _groups(params: Parameters, configuration: Configuration) -> list[dict[str, Any]]:
    """Parameters with and without weight decay."""
    given: list[Any] = list(params.named_parameters() if isinstance(params, nn.Module) else params)
    if not given:
        raise SweepError("there is no parameter", where="params")
    decay = float(configuration.values["weight_decay"])
    if not configuration.no_decay:
        plain = [one[1] if isinstance(one, tuple) else one for one in given]
        return [{"params": plain, "weight_decay": decay}]
    if not all(isinstance(one, tuple) for one in given):
        raise SweepError(
            "parameters without names", where="params", allowed="a model, or named_parameters()"
        )
    if "norm" in configuration.no_decay and not isinstance(params, nn.Module):
        raise SweepError(
            "norm is known by its layer, not by a name", where="no_decay", cure="Pass the model."
        )
    model = params if isinstance(params, nn.Module) else None
    decays = has_decay([name for name, _ in given], configuration.no_decay, model)
    parts: dict[bool, list[Tensor]] = {True: [], False: []}
    for (_, parameter), is_decayed in zip(given, decays, strict=True):
        parts[is_decayed].append(parameter)
    groups = [{"params": parts[True], "weight_decay": decay}]
    groups.append({"params": parts[False], "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def _torch_class(groups: list[dict[str, Any]], configuration: Configuration) -> Optimizer | None:
    """torch's own optimizer, where it means the same."""
    values: dict[str, Any] = dict(configuration.values)
    if "beta1" in values:
        values["betas"] = (values.pop("beta1"), values.pop("beta2"))
    if values.pop("eps_hat", False):
        return None
    kinds: dict[str, type[Optimizer]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "nadam": torch.optim.NAdam,
        "radam": torch.optim.RAdam,
        "sgd": torch.optim.SGD,
        "adagrad": torch.optim.Adagrad,
        "rmsprop": torch.optim.RMSprop,
    }
    kind = kinds.get(configuration.optimizer)
    return None if kind is None else kind(groups, **values)


def _clip_before_step(optimizer: Optimizer, configuration: Configuration) -> None:
    norm, value = configuration.clip_norm, configuration.clip_value
    if norm is None and value is None:
        return

    def clip() -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if norm is not None:
            clip_grad_norm_(parameters, norm)
        if value is not None:
            clip_grad_value_(parameters, value)

    def before(
        optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        del optimizer
        # A closure makes the gradients, within the step: Lightning passes one.
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            clip()
            return None

        def clipped() -> Any:
            loss = closure()
            clip()
            return loss

        return args[:1], {**kwargs, "closure": clipped}

    optimizer.register_step_pre_hook(before)
