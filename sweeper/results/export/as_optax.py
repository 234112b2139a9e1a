"""Export as a script for optax."""

from __future__ import annotations

from sweeper.results.export.provenance import comment
from sweeper.results.export.schedule_text import add_schedule
from sweeper.results.export.setting import Setting, refuse
from sweeper.results.export.source import Script, call

_USE = "optimizer = make_optimizer(); optimizer.update(grads, state, params) at every step."
_MASK = (
    "Weight decay leaves out leaves by their names, as flax gives them: check decay_mask(params)."
)
_TABLE = '''def learning_rate(total_steps: int = TOTAL_STEPS) -> optax.Schedule:
    """By updates already made; past total_steps it keeps its last value."""
    table = [{lr!r} * lr_share(step, total_steps) for step in range(total_steps + 1)]
    rates = jnp.asarray(table)
    return lambda count: rates[jnp.minimum(count, total_steps)]'''


def render(setting: Setting) -> str:
    """The script.

    Raises:
        SweepError: a schedule that cycles the momentum, weight decay by patterns of torch's names.
    """
    _check(setting)
    configuration = setting.configuration
    script = Script(comment(setting.found, _USE, *([_MASK] if _masks(setting) else [])))
    script.imports += ["import optax", "import jax.numpy as jnp"]
    add_schedule(script, configuration.schedule, setting.total_steps, cycles=False)
    script.blocks.append(_TABLE.format(lr=setting.values["lr"]))
    if _masks(setting):
        script.add_pieces("optax_mask", "decay_mask")
    inner = "".join(f"        {part},\n" for part in _chain(script, setting))
    script.blocks.append(
        "def make_optimizer(total_steps: int = TOTAL_STEPS) -> optax.GradientTransformation:\n"
        '    """The optimizer, learning rate included."""\n'
        f"    return optax.chain(\n{inner}    )"
    )
    return script.text()


def _check(setting: Setting) -> None:
    if setting.cycles:
        raise refuse(
            "optax",
            f"schedule {setting.configuration.schedule.kind} with cycle_momentum",
            "its momentum is fixed when the optimizer is made",
        )
    others = [one for one in setting.configuration.no_decay if one not in ("bias", "norm")]
    if others and setting.decay:
        raise refuse("optax", f"no_decay {others}", "these are patterns of names of a torch model")


def _masks(setting: Setting) -> bool:
    return bool(setting.configuration.no_decay and setting.decay)


def _mask(setting: Setting) -> str:
    if not _masks(setting):
        return "None"
    return f"lambda params: decay_mask(params, {setting.configuration.no_decay!r})"


def _chain(script: Script, setting: Setting) -> list[str]:
    """What the gradient goes through, in this order."""
    configuration, parts = setting.configuration, []
    if configuration.clip_norm is not None:
        parts.append(f"optax.clip_by_global_norm({configuration.clip_norm!r})")
    if configuration.clip_value is not None:
        parts.append(f"optax.clip({configuration.clip_value!r})")
    decay = f"optax.add_decayed_weights({setting.decay!r}, mask={_mask(setting)})"
    has_decay = setting.decay > 0 and setting.optimizer != "stable_adamw"
    if has_decay and not configuration.is_decoupled:
        parts.append(decay)
    parts += _rule(script, setting)
    if has_decay and configuration.is_decoupled:
        parts.append(decay)
    return [*parts, "optax.scale_by_learning_rate(learning_rate(total_steps))"]


def _rule(script: Script, setting: Setting) -> list[str]:
    values = setting.values
    rule = setting.configuration.rule
    if rule == "adam" and not (values["eps_hat"] or values["amsgrad"]):
        return [_native("scale_by_adam", setting, b1="beta1", b2="beta2", eps="eps")]
    if rule == "lion":
        return [_native("scale_by_lion", setting, b1="beta1", b2="beta2")]
    if rule == "rmsprop":
        return _rmsprop(setting)
    if rule == "sgd":
        return _sgd(script, setting)
    name, keys = {
        "adam": ("scale_by_adam_variant", ("beta1", "beta2", "eps", "eps_hat", "amsgrad")),
        "nadam": ("scale_by_torch_nadam", ("beta1", "beta2", "eps", "momentum_decay")),
        "radam": ("scale_by_torch_radam", ("beta1", "beta2", "eps")),
        "adagrad": (
            "scale_by_torch_adagrad",
            ("lr_decay", "eps", "initial_accumulator_value"),
        ),
        "stable_adamw": ("scale_by_stable_adamw", ("beta1", "beta2", "eps", "weight_decay")),
        "adai": ("scale_by_adai", ("beta0", "beta2", "eps")),
    }[rule]
    script.add_pieces("optax_rules", name)
    given = {key: repr(values[key]) for key in keys}
    if rule == "stable_adamw":
        every = "lambda params: jax.tree.map(lambda leaf: True, params)"
        script.imports.append("import jax")
        given["mask"] = _mask(setting) if _masks(setting) else every
    return [call(name, given, indent=8)]


def _rmsprop(setting: Setting) -> list[str]:
    # eps stands outside the root, and there is no bias correction.
    name = "scale_by_stddev" if setting.values["centered"] else "scale_by_rms"
    given = {"decay": repr(setting.values["alpha"]), "eps": repr(setting.values["eps"])}
    parts = [call(f"optax.{name}", given | {"eps_in_sqrt": "False"}, indent=8)]
    momentum = setting.values["momentum"]
    return [*parts, f"optax.trace(decay={momentum!r})"] if momentum else parts


def _sgd(script: Script, setting: Setting) -> list[str]:
    values = setting.values
    if not values["momentum"]:
        return []
    if not values["dampening"]:
        return [_native("trace", setting, decay="momentum", nesterov="nesterov")]
    script.add_pieces("optax_rules", "damped_trace")
    given = {key: repr(values[key]) for key in ("momentum", "dampening")}
    return [call("damped_trace", given, indent=8)]


def _native(name: str, setting: Setting, **names: str) -> str:
    given = {key: repr(setting.values[own]) for key, own in names.items()}
    return call(f"optax.{name}", given, indent=8)
