"""The optimizers and schedules that there are, their hyperparameters, defaults and ranges.

Pure data: read by the configuration parser, the search space and the documentation. Names and
defaults are those of torch.optim (2.13).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweeper.errors import SweepError, nearest, one_of, shown


@dataclass(frozen=True, slots=True)
class Real:
    """A real hyperparameter and the interval it may lie in."""

    default: float
    low: float
    high: float
    low_open: bool = False
    high_open: bool = False
    doc: str = ""

    def interval(self) -> str:
        left, right = "(["[not self.low_open], ")]"[not self.high_open]
        return f"a number in {left}{self.low:g}, {self.high:g}{right}"

    def check(self, value: object, where: str) -> float:
        """The value as a float; raises SweepError outside the interval."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SweepError(
                f"{shown(value)} is not a number", where=where, allowed=self.interval()
            )
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        low_ok = number > self.low if self.low_open else number >= self.low
        high_ok = number < self.high if self.high_open else number <= self.high
        if not (math.isfinite(number) and low_ok and high_ok):
            raise SweepError(
                f"{shown(value)} is out of range", where=where, allowed=self.interval()
            )
        return number


@dataclass(frozen=True, slots=True)
class Flag:
    """A hyperparameter that is true or false."""

    default: bool
    doc: str = ""

    def check(self, value: object, where: str) -> bool:
        if not isinstance(value, bool):
            raise SweepError(f"{shown(value)} is not a flag", where=where, allowed="true, false")
        return value


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer by its user's name: the rule that runs it and what may be set."""

    rule: str
    hyperparameters: dict[str, Real | Flag]
    source: str


def _lr() -> Real:
    return Real(1e-3, 0.0, 1e6, low_open=True, doc="learning rate (the peak of its schedule)")


def _decay(default: float) -> Real:
    return Real(default, 0.0, 1e6, doc="weight decay")


def _adam(decay: float) -> dict[str, Real | Flag]:
    return {
        "lr": _lr(),
        "beta1": Real(0.9, 0.0, 1.0, high_open=True, doc="decay of the first moment"),
        "beta2": Real(0.999, 0.0, 1.0, high_open=True, doc="decay of the second moment"),
        "eps": Real(1e-8, 0.0, 1e6, doc="added to the square root of the second moment"),
        "weight_decay": _decay(decay),
        "amsgrad": Flag(False, doc="divide by the largest second moment seen"),
    }


OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Optimizer("adam", _adam(0.0), "Kingma & Ba 2014, Algorithm 1; coupled (L2) decay"),
    "adamw": Optimizer("adam", _adam(0.01), "Loshchilov & Hutter 2017; decoupled decay"),
    "sgd": Optimizer(
        "sgd",
        {
            "lr": _lr(),
            "momentum": Real(0.0, 0.0, 1.0, high_open=True, doc="heavy-ball momentum"),
            "weight_decay": _decay(0.0),
        },
        "Sutskever et al. 2013 as in torch.optim.SGD; coupled (L2) decay",
    ),
}

_FRACTION = "a fraction of the horizon in [0, 1], or {steps: N}"
SCHEDULES: dict[str, dict[str, Real]] = {
    "constant": {
        "warmup": Real(0.0, 0.0, 1.0, doc=f"linear warm-up: {_FRACTION}"),
    },
    "cosine": {
        "warmup": Real(0.0, 0.0, 1.0, doc=f"linear warm-up: {_FRACTION}"),
        "final": Real(0.0, 0.0, 1.0, doc="last learning rate as a share of lr"),
    },
}
# Keys that may be a number of steps instead of a fraction of the horizon.
LENGTHS = frozenset({"warmup"})
# What a step tells of every row, in this order.
SERIES = ("loss", "grad_norm", "update_rms", "lr")
# Known words whose feature is not there yet: refused by name rather than ignored.
LATER: dict[str, list[str] | None] = {"clip_norm": None, "no_decay": []}


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


def schedule(kind: object, where: str = "schedule") -> dict[str, Real]:
    """The parameters of a schedule; raises SweepError with the nearest right one."""
    if not isinstance(kind, str) or kind not in SCHEDULES:
        raise SweepError(
            f"unknown schedule {shown(kind)}",
            where=where,
            allowed=one_of(SCHEDULES),
            cure=nearest(kind, SCHEDULES),
        )
    return SCHEDULES[kind]
