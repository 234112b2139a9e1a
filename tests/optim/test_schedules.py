"""Schedules against torch.optim.lr_scheduler at every step, and closed forms where torch has none.

torch multiplies from step to step, our closed forms don't: they agree to rounding (1e-9).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from sweeper.optim import schedules
from sweeper.optim.coefficients import Row, table
from sweeper.optim.coefficients import names as names_of
from sweeper.optim.configuration import parse
from sweeper.optim.rules import RULES
from sweeper.optim.schedule_catalog import SCHEDULES

pytest.importorskip("hypothesis")  # a bare GPU machine has torch, numpy and pytest

from hypothesis import example, given, settings
from hypothesis import strategies as st

PEAK, STEPS = 0.5, 5000
pytestmark = pytest.mark.filterwarnings("ignore:The epoch parameter in")  # torch's own call

Build = Callable[[SGD], LRScheduler]


def ours(schedule: dict[str, Any], horizon: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """lr and momentum of the first steps."""
    configuration = parse({"optimizer": "sgd", "lr": PEAK, "momentum": 0.9, "schedule": schedule})
    rule = RULES["sgd"]
    found = table(rule, [Row(configuration, horizon=max(horizon, steps))], steps)
    if steps > horizon:  # past its end: the horizon of the schedule is not that of the row
        found = past_the_end(configuration, horizon, steps)
    places = names_of(rule)
    return found[:, places.index("lr"), 0], found[:, places.index("momentum"), 0]


def past_the_end(configuration: Any, horizon: int, steps: int) -> np.ndarray:
    schedule = configuration.schedule
    values = {k: np.full(1, v) for k, v in schedules.row_values(schedule, horizon).items()}
    at, end = np.arange(steps, dtype=np.float64)[:, None], np.full(1, float(horizon))
    found = np.zeros((steps, len(names_of(RULES["sgd"])), 1))
    with np.errstate(all="ignore"):
        share = schedules.factor(schedule.kind, at, end, values)
    found[:, names_of(RULES["sgd"]).index("lr")] = PEAK * share
    return found


def theirs(build: Build, steps: int) -> tuple[np.ndarray, np.ndarray]:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=PEAK, momentum=0.9)
    scheduler = build(optimizer)
    lrs, momenta = [], []
    for _ in range(steps):
        lrs.append(float(optimizer.param_groups[0]["lr"]))
        momenta.append(float(optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        scheduler.step()
    return np.array(lrs), np.array(momenta)


def assert_same(
    schedule: dict[str, Any], build: Build, horizon: int = STEPS, *, momentum: bool = False
) -> None:
    lr, cycled = ours(schedule, horizon, horizon)
    expected, expected_momentum = theirs(build, horizon)
    np.testing.assert_allclose(lr, expected, rtol=1e-9, atol=1e-12)
    if momentum:
        np.testing.assert_allclose(cycled, expected_momentum, rtol=1e-9, atol=1e-12)


def quick(count: int = 12) -> Callable[[Any], Any]:
    return settings(max_examples=count, deadline=None, derandomize=True)


@quick()
@given(size=st.integers(1, 3000), gamma=st.floats(0.01, 1.0))
def test_step(size: int, gamma: float) -> None:
    assert_same(
        {"kind": "step", "step_size": {"steps": size}, "gamma": gamma},
        lambda optimizer: lr_scheduler.StepLR(optimizer, size, gamma),
    )


@quick()
@given(marks=st.lists(st.integers(0, STEPS), min_size=1, max_size=8), gamma=st.floats(0.01, 1.0))
def test_multistep(marks: list[int], gamma: float) -> None:
    marks = [max(mark, 1) for mark in marks]  # torch decays for the first time after a step
    assert_same(
        {"kind": "multistep", "milestones": [{"steps": m} for m in marks], "gamma": gamma},
        lambda optimizer: lr_scheduler.MultiStepLR(optimizer, marks, gamma),
    )


@quick()
@given(gamma=st.floats(0.99, 1.0))
def test_exponential(gamma: float) -> None:
    assert_same(
        {"kind": "exponential", "gamma": gamma},
        lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma),
    )


@quick()
@given(power=st.floats(0.1, 4.0))
def test_polynomial(power: float) -> None:
    assert_same(
        {"kind": "polynomial", "power": power},
        lambda optimizer: lr_scheduler.PolynomialLR(optimizer, STEPS, power),
    )


@quick(25)
@given(horizon=st.integers(20, 600), share=st.floats(0.0, 0.9), final=st.floats(0.0, 1.0))
def test_cosine_after_a_warmup(horizon: int, share: float, final: float) -> None:
    warmup = round(share * horizon)

    def build(optimizer: SGD) -> LRScheduler:
        cosine = lr_scheduler.CosineAnnealingLR(optimizer, horizon - warmup, eta_min=PEAK * final)
        if warmup < 2:
            return cosine
        rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
        return lr_scheduler.SequentialLR(optimizer, [rise, cosine], milestones=[warmup])

    lr, _ = ours({"kind": "cosine", "warmup": share, "final": final}, horizon, horizon)
    expected, _ = theirs(build, horizon)
    if warmup == 1:  # one step at the peak, then the cosine from its start
        rest, _ = theirs(
            lambda optimizer: lr_scheduler.CosineAnnealingLR(
                optimizer, horizon - 1, eta_min=PEAK * final
            ),
            horizon - 1,
        )
        expected = np.concatenate([[PEAK], rest])
    np.testing.assert_allclose(lr, expected, rtol=1e-9, atol=1e-12)


@quick(20)
@given(
    up=st.integers(1, 900),
    down=st.integers(1, 900),
    base=st.floats(0.0, 1.0),
    mode=st.sampled_from(["triangular", "triangular2", "exp_range"]),
    gamma=st.floats(0.99, 1.0),
)
def test_cyclical(up: int, down: int, base: float, mode: str, gamma: float) -> None:
    schedule = {
        "kind": "cyclical", "base": base, "step_size_up": {"steps": up},
        "step_size_down": {"steps": down}, "mode": mode, "gamma": gamma,
    }  # fmt: skip

    def build(optimizer: SGD) -> LRScheduler:
        return lr_scheduler.CyclicLR(
            optimizer, base * PEAK, PEAK, step_size_up=up, step_size_down=down, mode=mode,
            gamma=gamma,
        )  # fmt: skip

    assert_same(schedule, build, momentum=True)


@quick(20)
@example(first=1, ratio=3, final=0.0)  # the logarithm misses the restart at step 121
@given(first=st.integers(1, 900), ratio=st.integers(1, 4), final=st.floats(0.0, 1.0))
def test_sgdr(first: int, ratio: int, final: float) -> None:
    assert_same(
        {"kind": "sgdr", "T_0": {"steps": first}, "T_mult": ratio, "final": final},
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, first, ratio, eta_min=PEAK * final
        ),
    )


@quick(20)
@given(
    total=st.integers(20, STEPS),
    start=st.floats(0.06, 0.45),
    strategy=st.sampled_from(["cos", "linear"]),
    three=st.booleans(),
    div=st.floats(1.0, 100.0),
    final_div=st.floats(1.0, 1e5),
)
def test_onecycle(
    total: int, start: float, strategy: str, three: bool, div: float, final_div: float
) -> None:
    schedule = {
        "kind": "onecycle", "pct_start": start, "anneal_strategy": strategy,
        "three_phase": three, "div_factor": div, "final_div_factor": final_div,
    }  # fmt: skip

    def build(optimizer: SGD) -> LRScheduler:
        return lr_scheduler.OneCycleLR(
            optimizer, PEAK, total_steps=total, pct_start=start, anneal_strategy=strategy,
            div_factor=div, final_div_factor=final_div, three_phase=three,
        )  # fmt: skip

    lr, momentum = ours(schedule, total, total)
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=PEAK, momentum=0.9)
    scheduler, expected, expected_momentum = build(optimizer), [], []
    for step in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        expected_momentum.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        if step < total - 1:  # torch refuses one step more
            scheduler.step()
    np.testing.assert_allclose(lr, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(momentum, expected_momentum, rtol=1e-9, atol=1e-12)


@quick(20)
@given(warmup=st.integers(0, 500), scale=st.integers(0, 500))
def test_inverse_sqrt(warmup: int, scale: int) -> None:
    schedule = {
        "kind": "inverse_sqrt", "warmup": {"steps": warmup}, "timescale": {"steps": scale},
    }  # fmt: skip
    lr, _ = ours(schedule, 2000, 2000)
    own = scale or warmup or 1
    for step in (warmup, warmup + 1, warmup + 77, 1999):
        assert lr[step] == pytest.approx(PEAK * math.sqrt(own / (step - warmup + own)), rel=1e-12)
    if warmup and not scale:  # Vaswani et al. 2017, counted from 1
        t = np.arange(1, 2001)
        paper = PEAK * math.sqrt(warmup) * np.minimum(t**-0.5, t * warmup**-1.5)
        np.testing.assert_allclose(lr[:warmup], paper[:warmup], rtol=1e-12)
        np.testing.assert_allclose(lr[warmup:-1], paper[warmup - 1 : -2][: len(lr[warmup:-1])])


@pytest.mark.parametrize(
    ("shape", "left"),
    [
        ("linear", lambda x: 1 - x),
        ("1-sqrt", lambda x: 1 - math.sqrt(x)),
        ("cosine", lambda x: (1 + math.cos(math.pi * x)) / 2),
    ],
)
def test_warmup_stable_decay(shape: str, left: Callable[[float], float]) -> None:
    schedule = {
        "kind": "wsd", "warmup": {"steps": 10}, "decay": 0.2, "decay_shape": shape, "final": 0.1,
    }  # fmt: skip
    lr, _ = ours(schedule, 100, 120)
    expected = [PEAK * (t + 1) / 10 for t in range(10)] + [PEAK] * 70
    expected += [PEAK * (0.1 + 0.9 * left(x / 20)) for x in range(20)] + [PEAK * 0.1] * 20
    np.testing.assert_allclose(lr, expected, rtol=1e-12)


@pytest.mark.parametrize("shape", ["exponential", "linear"])
def test_the_range_test_grows_from_start_to_lr(shape: str) -> None:
    lr, _ = ours({"kind": "range_test", "start": 1e-6, "shape": shape}, 100, 120)
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=PEAK * 1e-6)
    if shape == "exponential":
        scheduler: LRScheduler = lr_scheduler.ExponentialLR(optimizer, 1e6 ** (1 / 99))
    else:
        scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: 1 + (1e6 - 1) * step / 99)
    expected = []
    for _ in range(100):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(lr[:100], expected, rtol=1e-10)
    assert (lr[100:] == PEAK).all()


def test_constant_keeps_lr_after_the_warmup() -> None:
    lr, momentum = ours({"kind": "constant", "warmup": {"steps": 4}}, 10, 10)
    assert lr.tolist() == pytest.approx([0.125, 0.25, 0.375, 0.5, *[0.5] * 6])
    assert (momentum == 0.9).all()


@pytest.mark.parametrize("kind", ["cosine", "polynomial", "wsd", "onecycle"])
def test_what_ends_at_the_horizon_keeps_its_last_value(kind: str) -> None:
    lr, _ = ours({"kind": kind}, 100, 400)
    assert len(set(lr[100:])) == 1
    assert lr[100] <= lr[99] < 0.1 * PEAK


@pytest.mark.parametrize("kind", sorted(SCHEDULES))
def test_a_factor_is_at_most_one_and_finite(kind: str) -> None:
    lr, _ = ours({"kind": kind, "warmup": 0.1}, 1000, 3000)
    assert np.isfinite(lr).all() and lr.min() >= 0 and lr.max() <= PEAK * (1 + 1e-12)


def test_a_row_does_not_depend_on_its_neighbours_or_chunks() -> None:
    rule = RULES["adam"]
    configs = [parse({"lr": 0.1 + i / 100, "schedule": kind}) for i, kind in enumerate(SCHEDULES)]
    rows = [Row(config, 977, step=13 * i) for i, config in enumerate(configs)]
    whole = table(rule, rows, 97)
    for i, row in enumerate(rows):
        for place in (0, 3):
            around: list[Row | None] = [None, rows[0], rows[5], rows[-1]]
            around[place] = row
            assert np.array_equal(table(rule, around, 97)[:, :, place], whole[:, :, i])
        later = Row(row.configuration, 977, step=row.step + 40)
        assert np.array_equal(table(rule, [later], 57)[:, :, 0], whole[40:, :, i])


def test_beta1_is_cycled_where_there_is_no_momentum() -> None:
    places = names_of(RULES["adam"])
    config = parse({"optimizer": "adam", "schedule": "onecycle"})
    cycled = table(RULES["adam"], [Row(config, 100)], 100)[:, places.index("beta1_left"), 0]
    assert cycled[0] == pytest.approx(0.05)
    assert cycled.max() == pytest.approx(0.15, abs=1e-3)
    off = parse({"optimizer": "adam", "schedule": {"kind": "onecycle", "cycle_momentum": False}})
    kept = table(RULES["adam"], [Row(off, 100)], 100)[:, places.index("beta1_left"), 0]
    assert kept == pytest.approx(np.full(100, 0.1))
