"""Export as a script for torch alone."""

from __future__ import annotations

from sweeper.results.export.provenance import comment
from sweeper.results.export.schedule_text import add_schedule
from sweeper.results.export.setting import Setting
from sweeper.results.export.source import Script, call

_NATIVE = {
    "adam": "Adam",
    "adamw": "AdamW",
    "nadam": "NAdam",
    "radam": "RAdam",
    "sgd": "SGD",
    "adagrad": "Adagrad",
    "rmsprop": "RMSprop",
}
_OWN = {
    "sgdw": "SGDW",
    "lion": "Lion",
    "stable_adamw": "StableAdamW",
    "adai": "Adai",
    "adaiw": "Adai",
}
_USE = (
    "optimizer, scheduler = make_optimizer(model); scheduler.step() after every optimizer.step()."
)
_CLOSURE = "It clips within optimizer.step(): with a closure, clip in the closure instead."
_NO_CLIPPING = "Without clipping."


def render(setting: Setting) -> str:
    """The script."""
    clips = setting.configuration.clip_norm or setting.configuration.clip_value
    script = Script(comment(setting.found, _USE, _CLOSURE if clips else _NO_CLIPPING))
    add_torch(script, setting, clip_norm=True, clip_value=True)
    return script.text()


def add_torch(script: Script, setting: Setting, *, clip_norm: bool, clip_value: bool) -> None:
    """Add `make_optimizer(model)` and what it needs.

    Args:
        clip_norm, clip_value: whether the optimizer shall clip where the setting does.
    """
    configuration = setting.configuration
    script.imports += ["import torch"]
    add_schedule(script, configuration.schedule, setting.total_steps, cycles=setting.cycles)
    kind = _add_class(script, setting)
    params = "model.parameters()"
    if configuration.no_decay and setting.decay:
        script.add_pieces("torch_groups", "decay_groups")
        params = call(
            "decay_groups",
            {"model": "model", "weight_decay": repr(setting.decay)}
            | {"no_decay": repr(list(configuration.no_decay))},
            indent=8,
        )
    body = [f"optimizer = {call(kind, {'params': params, **arguments(setting)})}"]
    for name, wanted in (("clip_norm", clip_norm), ("clip_value", clip_value)):
        limit = getattr(configuration, name)
        if limit is not None and wanted:
            script.add_pieces("torch_clipping", f"{name}_before_step")
            body.append(f"{name}_before_step(optimizer, {limit!r})")
    body += _scheduler(script, setting)
    script.blocks.append(
        "def make_optimizer(\n"
        "    model: torch.nn.Module, total_steps: int = TOTAL_STEPS\n"
        ") -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:\n"
        '    """Optimizer and scheduler; fractions of the schedule refer to total_steps."""\n'
        + "".join(f"    {line}\n" for line in body)
        + "    return optimizer, scheduler"
    )


def arguments(setting: Setting) -> dict[str, str]:
    """Arguments of the optimizer as text, in torch's names."""
    values: dict[str, object] = dict(setting.values)
    if "beta1" in values:
        betas = (values.pop("beta1"), values.pop("beta2"))
        values = {"lr": values.pop("lr"), "betas": betas, **values}
    is_own = values.pop("eps_hat", False) or setting.optimizer in ("adai", "adaiw")
    if is_own:
        values["decoupled"] = setting.configuration.is_decoupled
    return {name: repr(value) for name, value in values.items()}


def native(setting: Setting) -> str | None:
    """Name of the class of torch.optim that means the same; None where there is none."""
    return None if setting.values.get("eps_hat") else _NATIVE.get(setting.optimizer)


def _add_class(script: Script, setting: Setting) -> str:
    found = native(setting)
    if found is not None:
        return f"torch.optim.{found}"
    name = "AdamEpsHat" if setting.values.get("eps_hat") else _OWN[setting.optimizer]
    script.add_pieces("torch_base", "Stepper")
    script.add_pieces("torch_rules", name)
    return name


def _scheduler(script: Script, setting: Setting) -> list[str]:
    share = "lambda step: lr_share(step, total_steps)"
    if not setting.cycles:
        return [
            "scheduler = torch.optim.lr_scheduler.LambdaLR(",
            f"    optimizer, {share}",
            ")",
        ]
    script.add_pieces("torch_cycled", "CycledLR")
    return [
        "scheduler = CycledLR(",
        "    optimizer,",
        f"    {share},",
        "    lambda step: momentum_at(step, total_steps),",
        ")",
    ]
