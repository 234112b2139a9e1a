"""Export as TrainingArguments, with optimizer and scheduler where arguments can't say it."""

from __future__ import annotations

from sweeper.results.export.as_torch import add_torch
from sweeper.results.export.provenance import comment
from sweeper.results.export.setting import Setting
from sweeper.results.export.source import Script

_ADAM = ("adam", "adamw")
# Of optim_args, by optimizer, beside lr.
_OPTIM_ARGS = {
    "sgd": ("momentum", "dampening", "nesterov"),
    "rmsprop": ("alpha", "eps", "momentum", "centered"),
}
_USE = "Trainer(model=model, args=training_arguments({output_dir!r}){optimizers}, ...)"
_DEVICES = (
    "The batch size holds for one device: divide it by the number of devices, and by "
    "gradient_accumulation_steps where you raise that."
)
_UNKNOWN = "Set per_device_train_batch_size: the Trainer's default is 8, not the task's own."
_WHY = (
    "Arguments alone can't say this setting: the Trainer's own warm-up begins at 0, and its "
    "weight decay is decoupled and leaves out bias and norm layers."
)


def render(setting: Setting) -> str:
    """The script."""
    said = _arguments(setting)
    optimizers = "" if said is not None else ", optimizers=make_optimizer(model)"
    use = _USE.format(output_dir="output", optimizers=optimizers)
    batch = _UNKNOWN if setting.batch_size is None else _DEVICES
    script = Script(comment(setting.found, use, batch, *([] if said is not None else [_WHY])))
    script.imports += ["from typing import Any", "from transformers import TrainingArguments"]
    if said is None:
        add_torch(script, setting, clip_norm=False, clip_value=True)
    else:
        script.blocks.append(f"TOTAL_STEPS = {setting.total_steps}")
    script.blocks.append(
        "def training_arguments(output_dir: str, **others: Any) -> TrainingArguments:\n"
        '    """Arguments of the Trainer; `others` add to them."""\n'
        f"    return {_call(setting, said or {})}"
    )
    return script.text()


def _call(setting: Setting, said: dict[str, str]) -> str:
    # Unless told, the Trainer clips at 1.
    clip = setting.configuration.clip_norm or 0.0
    given = {"output_dir": "output_dir", "max_steps": "TOTAL_STEPS"} | said
    given |= {"max_grad_norm": repr(clip), "gradient_accumulation_steps": "1"}
    if setting.batch_size is not None:
        given["per_device_train_batch_size"] = str(setting.batch_size)
    inner = "".join(f"        {name}={value},\n" for name, value in given.items())
    return f"TrainingArguments(\n{inner}        **others,\n    )"


def _arguments(setting: Setting) -> dict[str, str] | None:
    """What arguments alone say; None where they can't say it all."""
    optimizer, schedule = _optimizer(setting), _schedule(setting)
    has_mask = setting.decay > 0  # the Trainer's own mask is another one than any of ours
    clips_values = setting.configuration.clip_value is not None
    if optimizer is None or schedule is None or has_mask or clips_values:
        return None
    learning_rate = {"learning_rate": repr(setting.values["lr"]), "weight_decay": "0.0"}
    return optimizer | learning_rate | {"lr_scheduler_type": repr(schedule), "warmup_steps": "0"}


def _optimizer(setting: Setting) -> dict[str, str] | None:
    values, name = setting.values, setting.optimizer
    if name in _ADAM and not values["amsgrad"] and not values["eps_hat"]:
        names = {"adam_beta1": "beta1", "adam_beta2": "beta2", "adam_epsilon": "eps"}
        return {"optim": "'adamw_torch'"} | {key: repr(values[own]) for key, own in names.items()}
    if name in _OPTIM_ARGS:
        given = ",".join(f"{key}={values[key]}" for key in _OPTIM_ARGS[name])
        return {"optim": repr(name), "optim_args": repr(given)}
    return None


def _schedule(setting: Setting) -> str | None:
    """Name of the Trainer's schedule that means the same."""
    schedule = setting.configuration.schedule
    if setting.warmup:
        return None
    if schedule.kind == "constant":
        return "constant"
    is_to_zero = schedule.values.get("final") == 0
    if schedule.kind == "cosine" and is_to_zero:
        return "cosine"
    is_linear = schedule.kind == "polynomial" and schedule.values["power"] == 1
    return "linear" if is_linear and is_to_zero else None
