"""The optimizers that there are: their hyperparameters, defaults, ranges and sources.

Pure data: read by the configuration parser, the search space and the documentation. Names and
defaults are those of torch.optim (2.13), or of the paper's own code where torch has none.
"""

from __future__ import annotations

from dataclasses import dataclass

from sweeper.errors import SweepError, nearest, one_of, shown
from sweeper.optim.hyperparameters import Flag, Limit, Real


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer by its user's name.

    Args:
        rule: name of the update rule that runs it.
        hyperparameters: what may be set.
        source: of the formula.
        threshold: on lr times the top eigenvalue of the Hessian, preconditioned where the rule
            divides by a second moment, beyond which a quadratic is unstable: 2 / |G(-1)|, with G
            the response of the momentum to an alternating gradient.
        decoupled: whether its weight decay is decoupled from the gradient; else it is L2.
    """

    rule: str
    hyperparameters: dict[str, Real | Flag]
    source: str
    threshold: str
    decoupled: bool = False

    @property
    def betas(self) -> tuple[str, ...]:
        """What a pair `betas` stands for; empty where there is none."""
        return tuple(key for key in self.hyperparameters if key.startswith("beta"))

    @property
    def cycled(self) -> str | None:
        """The hyperparameter that cyclical schedules cycle against lr, if there is one."""
        found = [key for key in ("momentum", "beta1") if key in self.hyperparameters]
        return found[0] if found else None


def _lr(default: float) -> Real:
    return Real(default, 0.0, 1e6, low_open=True, doc="learning rate (the peak of its schedule)")


def _decay(default: float, kind: str) -> Real:
    return Real(default, 0.0, 1e6, doc=f"weight decay, {kind}")


def _share(default: float, doc: str) -> Real:
    return Real(default, 0.0, 1.0, high_open=True, doc=doc)


def _eps(default: float, doc: str = "added to the square root of the second moment") -> Real:
    return Real(default, 0.0, 1e6, doc=doc)


_L2, _DECOUPLED = "coupled (L2)", "decoupled"
_FIRST, _SECOND = "decay of the first moment", "decay of the second moment"
_ADAM_EDGE = "2 (1 + beta1) / (1 - beta1)"
_MOMENTUM_EDGE = "2 (1 + momentum); Nesterov 2 (1 + momentum) / (1 + 2 momentum)"
_ADAI_EDGE = "between 2 and 2 (2 - eps) / eps: the inertia differs by coordinate"
_EITHER = Flag(False, doc="weight decay is decoupled instead of L2")


def _adam(decay: Real) -> dict[str, Real | Flag]:
    return {
        "lr": _lr(1e-3),
        "beta1": _share(0.9, _FIRST),
        "beta2": _share(0.999, _SECOND),
        "eps": _eps(1e-8),
        "weight_decay": decay,
        "amsgrad": Flag(False, doc="divide by the largest second moment seen"),
        "eps_hat": Flag(
            False, doc="eps is that of TensorFlow and Keras: added before bias correction"
        ),
    }


def _sgd(decay: Real) -> dict[str, Real | Flag]:
    return {
        "lr": _lr(1e-3),
        "momentum": _share(0.0, "heavy-ball momentum"),
        "dampening": Real(0.0, 0.0, 1.0, doc="damping of the gradient in the momentum"),
        "nesterov": Flag(False, doc="Nesterov's momentum; needs momentum, and no dampening"),
        "weight_decay": decay,
    }


def _adai(decay: Real) -> dict[str, Real | Flag]:
    return {
        "lr": _lr(1e-3),
        "beta0": Real(0.1, 0.0, 1e3, doc="strength of the adaptive inertia"),
        "beta2": _share(0.99, _SECOND),
        "eps": Real(1e-3, 0.0, 1.0, low_open=True, high_open=True, doc="1 - largest inertia"),
        "weight_decay": decay,
    }


OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Optimizer(
        "adam", _adam(_decay(0.0, _L2)), "Kingma & Ba 2014, Algorithm 1", _ADAM_EDGE
    ),
    "adamw": Optimizer(
        "adam",
        _adam(_decay(0.01, _DECOUPLED)),
        "Loshchilov & Hutter 2017",
        _ADAM_EDGE,
        decoupled=True,
    ),
    "nadam": Optimizer(
        "nadam",
        {
            "lr": _lr(2e-3),
            "beta1": _share(0.9, _FIRST),
            "beta2": _share(0.999, _SECOND),
            "eps": _eps(1e-8),
            "weight_decay": _decay(0.0, _L2),
            "momentum_decay": Real(4e-3, 0.0, 1e3, doc="how fast the momentum rises to beta1"),
            "decoupled_weight_decay": _EITHER,
        },
        "Dozat 2016, as torch.optim.NAdam",
        "2 / (mu (1 - beta1) / (1 + beta1) + 1 - mu), with mu its momentum of the step",
    ),
    "radam": Optimizer(
        "radam",
        {
            "lr": _lr(1e-3),
            "beta1": _share(0.9, _FIRST),
            "beta2": _share(0.999, _SECOND),
            "eps": _eps(1e-8, "added to the square root of the uncorrected second moment"),
            "weight_decay": _decay(0.0, _L2),
            "decoupled_weight_decay": _EITHER,
        },
        "Liu et al. 2019, as torch.optim.RAdam",
        f"{_ADAM_EDGE}, over r_t",
    ),
    "stable_adamw": Optimizer(
        "stable_adamw",
        {
            "lr": _lr(1e-3),
            "beta1": _share(0.9, _FIRST),
            "beta2": _share(0.99, _SECOND),
            "eps": _eps(1e-8),
            "weight_decay": _decay(0.01, _DECOUPLED),
        },
        "Wortsman et al. 2023, Algorithm 2",
        f"{_ADAM_EDGE}, times max(1, RMS_t)",
        decoupled=True,
    ),
    "sgd": Optimizer(
        "sgd",
        _sgd(_decay(0.0, _L2)),
        "Sutskever et al. 2013, as torch.optim.SGD",
        _MOMENTUM_EDGE,
    ),
    "sgdw": Optimizer(
        "sgd",
        _sgd(_decay(0.01, _DECOUPLED)),
        "Loshchilov & Hutter 2017",
        _MOMENTUM_EDGE,
        decoupled=True,
    ),
    "adagrad": Optimizer(
        "adagrad",
        {
            "lr": _lr(1e-2),
            "lr_decay": Real(0.0, 0.0, 1e6, doc="lr / (1 + steps made * lr_decay)"),
            "eps": _eps(1e-10, "added to the square root of the sum of squares"),
            "initial_accumulator_value": Real(0.0, 0.0, 1e6, doc="of the sum of squares"),
            "weight_decay": _decay(0.0, _L2),
        },
        "Duchi et al. 2011, as torch.optim.Adagrad",
        "2",
    ),
    "rmsprop": Optimizer(
        "rmsprop",
        {
            "lr": _lr(1e-2),
            "alpha": _share(0.99, _SECOND),
            "eps": _eps(1e-8),
            "momentum": _share(0.0, "heavy-ball momentum of the scaled gradient"),
            "centered": Flag(False, doc="divide by an estimate of the standard deviation"),
            "weight_decay": _decay(0.0, _L2),
        },
        "Hinton's lecture 6e; Graves 2013 where centered; as torch.optim.RMSprop",
        "2 (1 + momentum)",
    ),
    "adai": Optimizer("adai", _adai(_decay(0.0, _L2)), "Xie et al. 2022, Algorithm 2", _ADAI_EDGE),
    "adaiw": Optimizer(
        "adai",
        _adai(_decay(5e-4, _DECOUPLED)),
        "Xie et al. 2022, Algorithm 3",
        _ADAI_EDGE,
        decoupled=True,
    ),
    "lion": Optimizer(
        "lion",
        {
            "lr": _lr(1e-4),
            "beta1": _share(0.9, "weight of the momentum in the step"),
            "beta2": _share(0.99, "decay of the momentum"),
            "weight_decay": _decay(0.0, _DECOUPLED),
        },
        "Chen et al. 2023, Algorithm 2",
        "none: the length of a step doesn't depend on the gradient",
        decoupled=True,
    ),
}

# What every optimizer may have beside its own.
CLIPPING: dict[str, Limit] = {
    "clip_norm": Limit(
        Real(1.0, 0.0, 1e30, low_open=True, doc="largest L2 norm of the whole gradient")
    ),
    "clip_value": Limit(
        Real(1.0, 0.0, 1e30, low_open=True, doc="largest magnitude of a gradient's element")
    ),
}
NO_DECAY_DOC = (
    "parameters without weight decay: bias, norm (of normalisation layers), or patterns of their "
    "names such as head.*"
)
# What a step tells of every row, in this order.
SERIES = (
    "loss",
    "grad_norm",
    "update_rms",
    "lr",
    "param_norm",
    "eps_dominance",
    "grad_surprise",
    "update_cosine",
)


def optimizer(name: object, where: str = "optimizer") -> Optimizer:
    """The optimizer of that name; raises SweepError with the nearest right one."""
    if not isinstance(name, str) or name not in OPTIMIZERS:
        raise SweepError(
            f"unknown optimizer {shown(name)}",
            where=where,
            allowed=one_of(OPTIMIZERS),
            cure=nearest(name, OPTIMIZERS),
        )
    return OPTIMIZERS[name]
