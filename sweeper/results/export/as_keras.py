"""Export as a script for Keras 3, on any backend."""

from __future__ import annotations

from sweeper.results.export.provenance import comment
from sweeper.results.export.schedule_text import add_schedule
from sweeper.results.export.setting import Setting, refuse
from sweeper.results.export.source import Script, call

_USE = "model.compile(optimizer=make_optimizer(model), loss=...), one update a batch."
_SCHEDULE = '''class RecommendedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """By updates already made; past total_steps it keeps its last value."""

    def __init__(self, total_steps: int = TOTAL_STEPS) -> None:
        self.total_steps = total_steps
        table = [{lr!r} * lr_share(step, total_steps) for step in range(total_steps + 1)]
        self.rates = keras.ops.convert_to_tensor(table, dtype=keras.config.floatx())

    def __call__(self, step: Any) -> Any:
        place = keras.ops.minimum(keras.ops.cast(step, "int32"), self.total_steps)
        return keras.ops.take(self.rates, place)

    def get_config(self) -> dict[str, Any]:
        return {{"total_steps": self.total_steps}}'''
# By update rule: the class of the pieces.
_OWN = {
    "adam": "TorchAdam",
    "nadam": "TorchNAdam",
    "radam": "TorchRAdam",
    "sgd": "TorchSGD",
    "rmsprop": "TorchRMSprop",
    "adagrad": "TorchAdagrad",
    "stable_adamw": "StableAdamW",
}


def render(setting: Setting) -> str:
    """The script.

    Raises:
        SweepError: adai, a schedule that cycles the momentum, lion with beta1 0 or L2 decay,
            weight decay by patterns of torch's names.
    """
    _check(setting)
    script = Script(comment(setting.found, _USE))
    script.imports += ["from typing import Any", "import keras"]
    add_schedule(script, setting.configuration.schedule, setting.total_steps, cycles=False)
    if not setting.has_constant_lr:
        script.blocks.append(_SCHEDULE.format(lr=setting.values["lr"]))
    optimizer = _optimizer(script, setting)
    lines = [f"    optimizer = {optimizer}"]
    no_decay = setting.configuration.no_decay
    if no_decay and setting.decay:
        script.add_pieces("keras_free", "free_variables")
        lines.append(
            "    optimizer.exclude_from_weight_decay("
            f"var_list=free_variables(model, {list(no_decay)!r}))"
        )
    script.blocks.append(
        "def make_optimizer(\n"
        "    model: keras.Model, total_steps: int = TOTAL_STEPS\n"
        ") -> keras.optimizers.Optimizer:\n"
        '    """The optimizer for a model that is built: its variables are there."""\n'
        + "\n".join(lines)
        + "\n    return optimizer"
    )
    return script.text()


def _check(setting: Setting) -> None:
    configuration = setting.configuration
    if configuration.rule == "adai":
        raise refuse("keras", setting.optimizer, "a step of it needs all gradients at once")
    if setting.cycles:
        what = f"schedule {configuration.schedule.kind} with cycle_momentum"
        raise refuse("keras", what, "its momentum is fixed when the optimizer is made")
    if configuration.rule == "lion" and not setting.values["beta1"]:
        raise refuse("keras", "lion with beta1 0", "keras.optimizers.Lion takes more than 0")
    others = [one for one in configuration.no_decay if one not in ("bias", "norm")]
    if others and setting.decay:
        raise refuse("keras", f"no_decay {others}", "these are patterns of names of a torch model")


def _optimizer(script: Script, setting: Setting) -> str:
    """The call that makes the optimizer."""
    lr = repr(setting.values["lr"])
    given = {
        "learning_rate": lr if setting.has_constant_lr else "RecommendedSchedule(total_steps)"
    }
    native = _native(setting)
    if native is not None:
        name, own = native
        given |= own
    else:
        name = _OWN[setting.configuration.rule]
        script.add_pieces("keras_base", "Rule")
        script.add_pieces("keras_rules", name)
        given["settings"] = _settings(setting)
        if setting.decay and not setting.configuration.is_decoupled:
            given["l2"] = repr(setting.decay)
    is_inside = setting.configuration.rule == "stable_adamw"
    if setting.decay and setting.configuration.is_decoupled and not is_inside:
        given["weight_decay"] = repr(setting.decay)
    if setting.configuration.clip_norm is not None:
        given["global_clipnorm"] = repr(setting.configuration.clip_norm)
    if setting.configuration.clip_value is not None:
        given["clipvalue"] = repr(setting.configuration.clip_value)
    return call(name, given)


def _settings(setting: Setting) -> str:
    left_out = {"lr", "decoupled_weight_decay"}
    if setting.configuration.rule != "stable_adamw":
        left_out.add("weight_decay")
    return repr({name: v for name, v in setting.values.items() if name not in left_out})


def _native(setting: Setting) -> tuple[str, dict[str, str]] | None:
    """Class of Keras that means the same, with its arguments; None where there is none."""
    values, rule = setting.values, setting.configuration.rule
    if setting.decay and not setting.configuration.is_decoupled:
        return None  # every weight decay of Keras is decoupled
    if rule == "adam" and values["eps_hat"]:
        names = {"beta_1": "beta1", "beta_2": "beta2", "epsilon": "eps", "amsgrad": "amsgrad"}
        return "keras.optimizers.Adam", {key: repr(values[own]) for key, own in names.items()}
    if rule == "lion":
        names = {"beta_1": "beta1", "beta_2": "beta2"}
        return "keras.optimizers.Lion", {key: repr(values[own]) for key, own in names.items()}
    # lr stands within Keras' momentum: the same only while it doesn't change.
    is_same = setting.has_constant_lr or not values.get("momentum")
    if rule == "sgd" and is_same and not (values["momentum"] and values["dampening"]):
        given = {key: repr(values[key]) for key in ("momentum", "nesterov")}
        return "keras.optimizers.SGD", given
    return None
