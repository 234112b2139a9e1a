"""Export as the JSON configuration of DeepSpeed."""

from __future__ import annotations

import json
from typing import Any

from sweeper.results.export.as_torch import native
from sweeper.results.export.provenance import facts
from sweeper.results.export.setting import Setting, refuse

_CLIENT = "torch, and give its optimizer and scheduler to deepspeed.initialize"


def render(setting: Setting) -> str:
    """The configuration; provenance stands under `sweeper`, which DeepSpeed leaves alone.

    Raises:
        SweepError: what its optimizers, its schedules or the JSON can't say.
    """
    _check(setting)
    content: dict[str, Any] = {"sweeper": facts(setting.found)}
    if setting.batch_size is not None:
        content["train_batch_size"] = setting.batch_size
    content |= {
        "gradient_accumulation_steps": 1,
        "gradient_clipping": setting.configuration.clip_norm or 0.0,
        "optimizer": {"type": _type(setting), "params": _params(setting)},
    }
    if setting.configuration.rule != "adam":
        content["zero_allow_untested_optimizer"] = True
    return json.dumps(content, indent=2)


def _type(setting: Setting) -> str:
    found = native(setting)
    assert found is not None
    return found


def _params(setting: Setting) -> dict[str, Any]:
    values: dict[str, Any] = dict(setting.values)
    values.pop("eps_hat", None)
    if "beta1" in values:
        values["betas"] = [values.pop("beta1"), values.pop("beta2")]
    if setting.configuration.rule == "adam":
        # torch's own class; DeepSpeed's Adam would be AdamW.
        values |= {"torch_adam": True, "adam_w_mode": setting.configuration.is_decoupled}
    return values


def _check(setting: Setting) -> None:
    configuration = setting.configuration
    found, schedule = native(setting), configuration.schedule
    if found is None or setting.optimizer == "adagrad":
        name = f"{setting.optimizer}{' with eps_hat' if setting.values.get('eps_hat') else ''}"
        why = "its configuration reaches the other classes of torch.optim alone"
        raise refuse("deepspeed", name, why, _CLIENT)
    if not setting.has_constant_lr:
        why = (
            "its own schedules begin their warm-up twice or have other forms, and its "
            "configuration takes no other"
        )
        what = f"schedule {schedule.kind} with {setting.warmup} steps of warm-up"
        raise refuse("deepspeed", what, why, _CLIENT)
    if configuration.no_decay and setting.decay:
        why = "its configuration has one weight decay for all parameters"
        raise refuse("deepspeed", f"no_decay {list(configuration.no_decay)}", why, _CLIENT)
    if configuration.clip_value is not None:
        why = "it clips by the norm alone"
        raise refuse("deepspeed", f"clip_value {configuration.clip_value:g}", why, _CLIENT)
