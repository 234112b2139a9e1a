"""The learning-rate schedules that there are: their parameters, defaults and ranges. Pure data.

`lr` is the peak of every schedule; `final`, `base` and the like are shares of it. Names are those
of torch.optim.lr_scheduler (2.13) where it has the schedule.
"""

from __future__ import annotations

from sweeper.errors import SweepError, nearest, one_of, shown
from sweeper.optim.hyperparameters import Flag, Kind, Length, Lengths, Real, Switch, Word

MOST_MILESTONES = 8
_WARMUP: dict[str, Kind] = {"warmup": Length(0.0, doc="linear warm-up")}


def _final(default: float = 0.0) -> Real:
    return Real(default, 0.0, 1.0, doc="last learning rate as a share of lr")


def _gamma(default: float, doc: str) -> Real:
    return Real(default, 0.0, 1.0, low_open=True, doc=doc)


def _cycle(base: float, highest: float) -> dict[str, Kind]:
    return {
        "cycle_momentum": Switch(
            doc="cycle momentum or beta1 against lr; by default if there is one"
        ),
        "base_momentum": Real(base, 0.0, 1.0, high_open=True, doc="momentum at the peak of lr"),
        "max_momentum": Real(highest, 0.0, 1.0, high_open=True, doc="momentum at the low of lr"),
    }


SCHEDULES: dict[str, dict[str, Kind]] = {
    "constant": dict(_WARMUP),
    "step": {
        **_WARMUP,
        "step_size": Length(1 / 3, shortest=1, doc="steps between two decays"),
        "gamma": _gamma(0.1, "factor of every decay"),
    },
    "multistep": {
        **_WARMUP,
        "milestones": Lengths((0.5, 0.75), MOST_MILESTONES, doc="where lr decays"),
        "gamma": _gamma(0.1, "factor of every decay"),
    },
    "exponential": {**_WARMUP, "gamma": _gamma(0.999, "factor of every step")},
    "polynomial": {
        **_WARMUP,
        "power": Real(1.0, 0.0, 100.0, doc="exponent; 1 is linear"),
        "final": _final(),
    },
    "cosine": {**_WARMUP, "final": _final()},
    "inverse_sqrt": {
        **_WARMUP,
        "timescale": Length(0.0, doc="steps after which lr begins to fall; 0 is the warm-up's"),
    },
    "wsd": {
        **_WARMUP,
        "decay": Length(0.1, doc="length of the decay at the end"),
        "decay_shape": Word("1-sqrt", ("1-sqrt", "linear", "cosine"), doc="form of the decay"),
        "final": _final(),
    },
    "cyclical": {
        **_WARMUP,
        "base": Real(0.25, 0.0, 1.0, doc="lowest learning rate as a share of lr"),
        "step_size_up": Length(0.1, shortest=1, doc="steps from the lowest lr to the peak"),
        "step_size_down": Length(0.0, doc="steps from the peak to the lowest; 0 is step_size_up"),
        "mode": Word(
            "triangular", ("triangular", "triangular2", "exp_range"), doc="how the peaks decay"
        ),
        "gamma": _gamma(1.0, "of exp_range: factor of every step"),
        **_cycle(0.8, 0.9),
    },
    "sgdr": {
        **_WARMUP,
        "T_0": Length(0.1, shortest=1, doc="steps until the first restart"),
        "T_mult": Real(1.0, 1.0, 100.0, doc="factor of the length of every further period"),
        "final": _final(),
    },
    "range_test": {
        **_WARMUP,
        "start": Real(1e-8, 0.0, 1.0, low_open=True, doc="first learning rate as a share of lr"),
        "shape": Word("exponential", ("exponential", "linear"), doc="how lr grows"),
    },
    "onecycle": {
        **_WARMUP,
        "pct_start": Real(0.3, 0.0, 1.0, low_open=True, high_open=True, doc="share of the rise"),
        "anneal_strategy": Word("cos", ("cos", "linear"), doc="form of rise and fall"),
        "three_phase": Flag(False, doc="fall back to the first lr before the last descent"),
        "div_factor": Real(25.0, 1.0, 1e12, doc="lr over the first learning rate"),
        "final_div_factor": Real(1e4, 1.0, 1e12, doc="first over the last learning rate"),
        **_cycle(0.85, 0.95),
    },
}


def schedule(kind: object, where: str = "schedule") -> dict[str, Kind]:
    """The parameters of a schedule; raises SweepError with the nearest right one."""
    if not isinstance(kind, str) or kind not in SCHEDULES:
        raise SweepError(
            f"unknown schedule {shown(kind)}",
            where=where,
            allowed=one_of(SCHEDULES),
            cure=nearest(kind, SCHEDULES),
        )
    return SCHEDULES[kind]
