"""The JSON of DeepSpeed: the keys of its documented schema, and torch's own meaning."""

from __future__ import annotations

import json
from typing import Any

import export_cases as ec
import pytest
import torch

from sweeper.errors import SweepError
from sweeper.results.export.registry import render

# www.deepspeed.ai/docs/config-json, as far as exports use it. `sweeper` is none of its keys.
_KEYS: dict[str, tuple[type, ...]] = {
    "train_batch_size": (int,),
    "gradient_accumulation_steps": (int,),
    "gradient_clipping": (float,),
    "zero_allow_untested_optimizer": (bool,),
    "optimizer": (dict,),
}
# Types of optimizer: those that it knows, whose class `torch_adam` makes torch's; others are
# looked up in torch.optim by this very name.
_KNOWN = {"Adam", "AdamW"}
_EXPRESSED = {
    "adam", "adam_l2", "adam_large_eps", "amsgrad", "adamw", "adamw_no_decay_at_all",
    "nadam_decoupled", "radam", "radam_l2", "sgd", "sgd_l2", "sgd_nesterov", "sgd_dampening",
    "rmsprop", "rmsprop_centered", "clip_norm", "clip_norm_l2",
}  # fmt: skip


def as_deepspeed_does(content: dict[str, Any], problem: ec.Problem) -> torch.optim.Optimizer:
    """Its engine's _configure_basic_optimizer for the types of torch."""
    name, params = content["optimizer"]["type"], dict(content["optimizer"]["params"])
    if name in _KNOWN:
        assert params.pop("torch_adam") is True
        decoupled = params.pop("adam_w_mode") or name == "AdamW"
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    else:
        kind = getattr(torch.optim, name)
    found: torch.optim.Optimizer = kind(problem.parameters(), **params)
    return found


@pytest.mark.parametrize("case", ec.CASES)
def test_agrees_or_is_refused(case: str) -> None:
    if case not in _EXPRESSED:
        with pytest.raises(SweepError, match="deepspeed can't express") as caught:
            render(ec.found(ec.CASES[case]), "deepspeed")
        assert "deepspeed.initialize" in caught.value.cure
        return
    content = json.loads(render(ec.found(ec.CASES[case]), "deepspeed"))
    assert "trial" in content.pop("sweeper")
    for key, value in content.items():
        assert isinstance(value, _KEYS[key]), key
    problem = ec.Problem()
    optimizer = as_deepspeed_does(content, problem)
    limit = content["gradient_clipping"]
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    ec.train(problem, optimizer, constant, {"clip_norm": limit} if limit else {})
    assert ec.distance(case, problem.vector()) < 1e-10


def test_the_batch_size_is_that_of_one_update() -> None:
    content = json.loads(render(ec.found({**ec.CASES["adam"], "batch_size": 48}), "deepspeed"))
    assert content["train_batch_size"] == 48
    assert content["gradient_accumulation_steps"] == 1
