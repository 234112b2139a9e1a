"""The schedules of sweeper.optim.schedules, in plain Python for one step."""

from __future__ import annotations

import math


def constant_share(made: int, span: int) -> float:
    return 1.0


def step_share(made: int, span: int, step_size: int, gamma: float) -> float:
    return float(gamma ** (made // step_size))


def multistep_share(made: int, span: int, milestones: list[int], gamma: float) -> float:
    passed = sum(made >= milestone for milestone in milestones)
    return float(gamma**passed)


def exponential_share(made: int, span: int, gamma: float) -> float:
    return float(gamma**made)


def polynomial_share(made: int, span: int, power: float, final: float) -> float:
    left = (1 - min(made / span, 1.0)) ** power
    return float(final + (1 - final) * left)


def cosine_share(made: int, span: int, final: float) -> float:
    return final + (1 - final) * (1 + math.cos(math.pi * min(made / span, 1.0))) / 2


def inverse_sqrt_share(made: int, span: int, timescale: int) -> float:
    return math.sqrt(timescale / (made + timescale))


def wsd_share(made: int, span: int, decay: int, decay_shape: str, final: float) -> float:
    if decay == 0:
        return 1.0
    share = min(max((made - (span - decay)) / decay, 0.0), 1.0)
    left = {
        "1-sqrt": 1 - math.sqrt(share),
        "linear": 1 - share,
        "cosine": (1 + math.cos(math.pi * share)) / 2,
    }[decay_shape]
    return final + (1 - final) * left


def range_test_share(made: int, span: int, start: float, shape: str) -> float:
    share = min(made / max(span - 1, 1), 1.0)
    if shape == "linear":
        return start + (1 - start) * share
    return float(start ** (1 - share))


def height(made: int, step_size_up: int, step_size_down: int, mode: str, gamma: float) -> float:
    """How far up the triangle, times what is left of its peak."""
    total = step_size_up + step_size_down
    cycle, at = divmod(made, total)
    rise = at / step_size_up if at <= step_size_up else (total - at) / step_size_down
    peaks = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": gamma**made}
    return rise * peaks[mode]


def cyclical_share(
    made: int,
    span: int,
    base: float,
    step_size_up: int,
    step_size_down: int,
    mode: str,
    gamma: float,
) -> float:
    return base + (1 - base) * height(made, step_size_up, step_size_down, mode, gamma)


def cyclical_momentum(
    made: int,
    span: int,
    base_momentum: float,
    max_momentum: float,
    step_size_up: int,
    step_size_down: int,
    mode: str,
    gamma: float,
) -> float:
    up = height(made, step_size_up, step_size_down, mode, gamma)
    return max_momentum - (max_momentum - base_momentum) * up


def sgdr_share(made: int, span: int, T_0: int, T_mult: float, final: float) -> float:
    begin, length = 0.0, float(T_0)
    while made >= begin + length:
        begin, length = begin + length, length * T_mult
    return final + (1 - final) * (1 + math.cos(math.pi * (made - begin) / length)) / 2


def phases(
    made: int,
    span: int,
    levels: tuple[float, float, float, float],
    pct_start: float,
    anneal_strategy: str,
    three_phase: bool,
) -> float:
    """From the first level to the peak and on to the last; in three phases by way of the third."""
    first, peak, third, last = levels

    def anneal(start: float, stop: float, since: float, until: float) -> float:
        part = (made - since) / (until - since) if until > since else 1.0
        share = min(max(part, 0.0), 1.0)
        left = 1 - share if anneal_strategy == "linear" else (1 + math.cos(math.pi * share)) / 2
        return stop + (start - stop) * left

    top, bottom, end = pct_start * span - 1, 2 * pct_start * span - 2, span - 1
    if made <= top:
        return anneal(first, peak, 0, top)
    if not three_phase:
        return anneal(peak, last, top, end)
    return anneal(peak, third, top, bottom) if made <= bottom else anneal(third, last, bottom, end)


def onecycle_share(
    made: int,
    span: int,
    pct_start: float,
    anneal_strategy: str,
    three_phase: bool,
    div_factor: float,
    final_div_factor: float,
) -> float:
    first = 1 / div_factor
    levels = (first, 1.0, first, first / final_div_factor)
    return phases(made, span, levels, pct_start, anneal_strategy, three_phase)


def onecycle_momentum(
    made: int,
    span: int,
    base_momentum: float,
    max_momentum: float,
    pct_start: float,
    anneal_strategy: str,
    three_phase: bool,
) -> float:
    levels = (max_momentum, base_momentum, max_momentum, max_momentum)
    return phases(made, span, levels, pct_start, anneal_strategy, three_phase)
