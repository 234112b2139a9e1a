"""Learning-rate schedules, per row and closed-form in the step: a resumed row needs no replay.

A schedule is a factor on lr, at most 1. Lengths count from the end of the warm-up, milestones from
the start of the run. What has an end at the horizon (cosine, polynomial, wsd, onecycle and
range_test) keeps its last value past it; the others go on by their formula.

All functions take float64 arrays that broadcast: `step` (updates already made, 0 at the first)
`[steps, K]`, `horizon` `[K]` and a schedule's values `[K]` each, as `row_values` gives them. They
are NumPy's, not torch's: torch's vectorised powers differ by a rounding from those of a loop's
rest, so a row would depend on its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from sweeper.optim import cycles
from sweeper.optim.array import Array
from sweeper.optim.hyperparameters import Length, Lengths, Word, steps_of
from sweeper.optim.schedule import Schedule
from sweeper.optim.schedule_catalog import MOST_MILESTONES, SCHEDULES

Values = Mapping[str, Array]


def row_values(schedule: Schedule, horizon: int) -> dict[str, float]:
    """The values of one row: lengths in steps, words by their place, flags as 0 and 1."""
    values: dict[str, float] = {}
    for name, kind in SCHEDULES[schedule.kind].items():
        value = schedule.values[name]
        if isinstance(kind, Length):
            steps = schedule.steps(name, horizon)
            values[name] = float(max(steps, kind.shortest))
        elif isinstance(kind, Word):
            values[name] = float(kind.words.index(str(value)))
        elif isinstance(kind, Lengths):
            assert isinstance(value, tuple)
            marks = sorted(float(steps_of(one, horizon)) for one in value)
            marks += [math.inf] * (MOST_MILESTONES - len(marks))
            values |= {f"milestone{place}": mark for place, mark in enumerate(marks)}
        else:
            assert isinstance(value, float | bool)
            values[name] = float(value)
    return values


def factor(kind: str, step: Array, horizon: Array, values: Values) -> Array:
    """Share of lr to use at `step`.

    While step < warmup it is (step + 1) / warmup, which is torch's
    LinearLR(start_factor=1/warmup, total_iters=warmup-1).
    """
    warmup = values["warmup"]
    made = step - warmup
    span = np.maximum(horizon - warmup, 1)
    falling = _KINDS[kind](np.maximum(made, 0), span, values)
    return np.where(made < 0, (step + 1) / np.maximum(warmup, 1), falling)


def momentum(kind: str, step: Array, horizon: Array, values: Values) -> Array | None:
    """The momentum (or beta1) that goes with lr; None for schedules that leave it alone.

    During the warm-up it is that of the step after it.
    """
    if kind not in _MOMENTA:
        return None
    warmup = values["warmup"]
    return _MOMENTA[kind](np.maximum(step - warmup, 0), np.maximum(horizon - warmup, 1), values)


def _constant(made: Array, span: Array, values: Values) -> Array:
    del span, values
    return np.ones_like(made)


def _step(made: Array, span: Array, values: Values) -> Array:
    """torch's StepLR."""
    del span
    decays: Array = values["gamma"] ** np.floor(made / values["step_size"])
    return decays


def _multistep(made: Array, span: Array, values: Values) -> Array:
    """torch's MultiStepLR."""
    del span
    step = made + values["warmup"]
    count = np.zeros_like(step)
    for place in range(MOST_MILESTONES):
        count += step >= values[f"milestone{place}"]
    decays: Array = values["gamma"] ** count
    return decays


def _exponential(made: Array, span: Array, values: Values) -> Array:
    """torch's ExponentialLR."""
    del span
    decays: Array = values["gamma"] ** made
    return decays


def _polynomial(made: Array, span: Array, values: Values) -> Array:
    """torch's PolynomialLR, lifted to end at `final`."""
    left = 1 - np.minimum(made / span, 1)
    return _between(left ** values["power"], values["final"])


def _cosine(made: Array, span: Array, values: Values) -> Array:
    """torch's CosineAnnealingLR(T_max=span) (Loshchilov & Hutter 2016, eq. 5), without its rise
    past T_max."""
    return _between(_half_cosine(made / span), values["final"])


def _inverse_sqrt(made: Array, span: Array, values: Values) -> Array:
    """sqrt(s / (made + s)) for a timescale s: with that of the warm-up the schedule of Vaswani et
    al. 2017, else that of transformers' get_inverse_sqrt_schedule."""
    del span
    scale = np.where(values["timescale"] > 0, values["timescale"], values["warmup"])
    scale = np.maximum(scale, 1)
    return np.sqrt(scale / (made + scale))


def _wsd(made: Array, span: Array, values: Values) -> Array:
    """Warm-up, stable, decay (Hu et al. 2024): 1, and over the last `decay` steps down to `final`
    in the form 1 - sqrt(x), 1 - x or a half cosine."""
    decay = np.maximum(values["decay"], 1)
    share = np.clip((made - (span - decay)) / decay, 0, 1)
    shape = values["decay_shape"]
    left = np.where(shape == 0, 1 - np.sqrt(share), 1 - share)
    left = np.where(shape == 2, _half_cosine(share), left)
    return _between(np.where(values["decay"] > 0, left, 1.0), values["final"])


def _range_test(made: Array, span: Array, values: Values) -> Array:
    """From `start` at the first step to 1 at the last one: the learning-rate range test (Smith
    2015, 1506.01186, where it is linear; exponential since fastai)."""
    share = np.minimum(made / np.maximum(span - 1, 1), 1)
    start = values["start"]
    linear = start + (1 - start) * share
    return np.where(values["shape"] == 0, start ** (1 - share), linear)


def _between(left: Array, final: Array) -> Array:
    return final + (1 - final) * left


def _half_cosine(share: Array) -> Array:
    return (1 + np.cos(math.pi * np.clip(share, 0, 1))) / 2


_Form = Callable[[Array, Array, Values], Array]
_KINDS: dict[str, _Form] = {
    "constant": _constant,
    "step": _step,
    "multistep": _multistep,
    "exponential": _exponential,
    "polynomial": _polynomial,
    "cosine": _cosine,
    "inverse_sqrt": _inverse_sqrt,
    "wsd": _wsd,
    "range_test": _range_test,
    "cyclical": cycles.cyclical,
    "sgdr": cycles.sgdr,
    "onecycle": cycles.onecycle,
}
_MOMENTA: dict[str, _Form] = {
    "cyclical": cycles.cyclical_momentum,
    "onecycle": cycles.onecycle_momentum,
}
