"""Forecasts by hand, their properties, and what they don't claim."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.optim.configuration import parse
from sweeper.stability.forecast import Forecast, forecast
from sweeper.stability.safe_eps import safe_eps
from sweeper.stability.sharpness import SHARES, Probe

many = settings(max_examples=100, deadline=None, derandomize=True)
ADAM = {"optimizer": "adam"}


def ask(config: dict[str, Any], probe: Probe, horizon: int = 10_000, **options: Any) -> Forecast:
    return forecast(parse(config), horizon, probe, **{"full_batch": True, **options})


def growth(beta2: float, start: int, step: int) -> float:
    bias = (1 - beta2**step) / (1 - beta2**start)
    return math.sqrt(bias) * beta2 ** (-(step - start) / 2)


def test_the_second_moment_decays() -> None:
    # The first t with 10.22 sqrt((1 - b^t) / (1 - b^500)) b^-((t - 500) / 2) >= 38.
    found = ask(ADAM, Probe(500, 10.22))
    assert (found.step, found.applies, found.confidence) == (2299, True, "unchecked")
    assert 10.22 * growth(0.999, 500, 2299) >= 38 > 10.22 * growth(0.999, 500, 2298)


def test_rmsprop_corrects_no_bias() -> None:
    # 0.2 * 0.99^-((t - 100) / 2) >= 2: t - 100 = 2 ln 10 / -ln 0.99 = 458.2
    assert ask({"optimizer": "rmsprop"}, Probe(100, 0.2)).step == 559


def test_eps_stays() -> None:
    # A tenth of the divisor stays: 20 / (0.9 d + 0.1) >= 38 at d = 0.47368
    found = ask(ADAM, Probe(500, 20.0, moment_share=0.9)).step
    assert found is not None
    shares = [1 / growth(0.999, 500, step) for step in (found - 1, found)]
    assert shares[0] > (20 / 38 - 0.1) / 0.9 >= shares[1]
    assert ask(ADAM, Probe(500, 3.0, moment_share=0.9)).step is None  # at most 30


def test_eps_hat_goes_with_the_bias_correction() -> None:
    eps_hat = {"optimizer": "adam", "eps_hat": True, "eps": 1.0}
    # All of the divisor is eps_hat / sqrt(1 - b^t): it falls by sqrt((1 - b^100) / (1 - b^t)).
    rise = math.sqrt(1 / (1 - 0.999**100))
    assert ask(eps_hat, Probe(100, 38.01 / rise, 0.0)).step is not None
    assert ask(eps_hat, Probe(100, 37.99 / rise, 0.0)).step is None
    assert ask({**ADAM, "eps": 1.0}, Probe(100, 37.9, 0.0)).step is None


def test_the_schedule_counts_from_the_probe() -> None:
    stepped = {**ADAM, "schedule": {"kind": "step", "step_size": 0.1, "gamma": 0.8}}
    # lr falls by a fifth at 1000, 2000 and so on; S is 10.22 at 500.
    found = ask(stepped, Probe(500, 10.22)).step
    expected = next(
        t for t in range(500, 10_001) if 10.22 * growth(0.999, 500, t) * 0.8 ** (t // 1000) >= 38
    )
    assert found == expected


def test_warm_up_alone_may_cross() -> None:
    config = {"optimizer": "sgd", "schedule": {"kind": "constant", "warmup": 0.1}}
    # lr(99) is a tenth of its peak: S = 0.25 becomes 2 at 8/10 of the warm-up.
    assert ask(config, Probe(99, 0.25)).step == 799
    assert ask(config, Probe(99, 0.19)).step is None


def test_the_threshold_moves_with_beta1() -> None:
    cycled = {**ADAM, "schedule": "onecycle"}
    held = {**ADAM, "schedule": {"kind": "onecycle", "cycle_momentum": False}}
    found, fixed = (ask(one, Probe(1000, 5.0)).step for one in (cycled, held))
    assert found is not None and fixed is not None and found < fixed

    def rise(step: int) -> float:  # half a cosine over the first 2999 steps
        return (1 - math.cos(math.pi * step / 2999)) / 2

    def edge(step: int) -> float:
        beta1 = 0.95 - 0.1 * rise(step)
        return 2 * (1 + beta1) / (1 - beta1)

    def sharpness(step: int) -> float:
        lr = [1 / 25 + 24 / 25 * rise(one) for one in (1000, step)]
        return 5.0 * lr[1] / lr[0] * growth(0.999, 1000, step)

    assert found == next(t for t in range(1000, 2999) if sharpness(t) >= edge(t))


def test_until_may_lie_beyond_the_horizon() -> None:
    probe = Probe(500, 1.0)
    assert ask(ADAM, probe, horizon=2000).step is None
    assert ask(ADAM, probe, horizon=2000, until=20_000).step == ask(ADAM, probe).step
    cosine = {**ADAM, "schedule": "cosine"}
    assert ask(cosine, probe, horizon=2000, until=20_000).step is None  # lr stays at 0
    assert "stays below its threshold up to step 20000" in (
        ask(cosine, probe, horizon=2000, until=20_000).reason
    )


def test_at_the_edge_now() -> None:
    found = ask(ADAM, Probe(700, 38.1))
    assert (found.step, found.low, found.high, found.confidence) == (700, 700, 700, "measured")
    assert ask({**ADAM, "amsgrad": True}, Probe(700, 40.0)).step == 700


@pytest.mark.parametrize(
    ("config", "probe", "options", "reason"),
    [
        (ADAM, Probe(500, 10.0), {"full_batch": False}, "mini-batches"),
        ({**ADAM, "amsgrad": True}, Probe(500, 10.0), {}, "never falls"),
        ({"optimizer": "adagrad"}, Probe(500, 1.0), {}, "only grows"),
        ({"optimizer": "rmsprop", "centered": True}, Probe(500, 1.0), {}, "centered"),
        ({"optimizer": "lion"}, Probe(500, 1.0), {}, "same length"),
        ({"optimizer": "adai"}, Probe(500, 1.0), {}, "coordinate"),
        ({"optimizer": "radam"}, Probe(2, 1.0), {}, "probe later"),
        ({**ADAM, "schedule": "cosine"}, Probe(10_000, 0.0), {}, "no positive curvature"),
        ({**ADAM, "schedule": "cosine"}, Probe(10_000, 1.0), {}, "lr is 0"),
        (ADAM, Probe(500, -1.0), {}, "no positive curvature"),
        (ADAM, Probe(500, math.nan), {}, "no positive curvature"),
        (ADAM, Probe(500, 10.0), {"earlier": Probe(300, 10.0)}, "has not grown"),
        (ADAM, Probe(500, 10.0), {"earlier": Probe(300, -2.0)}, "no positive curvature"),
    ],
)
def test_it_says_when_it_does_not_apply(
    config: dict[str, Any], probe: Probe, options: dict[str, Any], reason: str
) -> None:
    found = ask(config, probe, **options)
    assert (found.step, found.applies, found.confidence) == (None, False, "none")
    assert reason in found.reason


@pytest.mark.parametrize("earlier", [Probe(0, 1.0), Probe(500, 1.0), Probe(600, 1.0)])
def test_an_earlier_probe_is_earlier(earlier: Probe) -> None:
    with pytest.raises(ValueError, match="probe"):
        ask(ADAM, Probe(500, 10.0), earlier=earlier)


def test_how_sure_it_is() -> None:
    start, exact = Probe(300, 7.5), 7.5 * growth(0.999, 300, 500)
    sure = ask(ADAM, Probe(500, exact), earlier=start)
    assert (sure.low, sure.high, sure.confidence) == (sure.step, sure.step, "good")
    widths = []
    for share in (1.005, 1.03, 0.9):
        found = ask(ADAM, Probe(500, share * exact), earlier=start)
        assert found.low is not None and found.step is not None
        assert found.low < found.step
        widths.append((found.high or math.inf) - found.low)
        assert found.high is None or found.high > found.step
    assert widths == sorted(widths)
    assert ask(ADAM, Probe(500, 0.9 * exact), earlier=start).confidence == "poor"


def test_what_lr_does_to_sharpness_is_not_growth() -> None:
    rising = {**ADAM, "schedule": {"kind": "constant", "warmup": 0.1}}
    # lr grows by 500 / 300, S by less.
    found = ask(rising, Probe(499, 1.6), earlier=Probe(299, 1.0))
    assert not found.applies
    falling = {**ADAM, "schedule": {"kind": "exponential", "gamma": 0.999}}
    exact = growth(0.999, 300, 500) * 0.999**200
    assert exact < 1.2
    assert ask(falling, Probe(500, exact), earlier=Probe(300, 1.0)).applies


def test_no_growth_is_expected_where_eps_is_all() -> None:
    probes = Probe(500, 10.0, 0.0), Probe(300, 10.0, 0.0)
    found = ask(ADAM, probes[0], earlier=probes[1])
    assert (found.step, found.applies) == (None, True)


def test_values_ahead_bound_the_crossing() -> None:
    """Against the exact S of two coordinates with different shares of eps."""
    root, eps, curvature = np.array([1.0, 0.03]), 0.05, np.array([12.0, 0.8])

    def sharpness(d: float) -> float:
        return float((curvature / (d * root + eps)).max())

    probe = Probe(500, sharpness(1.0), float(root[0] / (root[0] + eps)))
    exact = next(t for t in range(500, 10**5) if sharpness(1 / growth(0.999, 500, t)) >= 38)
    alone = ask(ADAM, probe)
    assert alone.low is not None and alone.step is not None and alone.high is not None
    assert alone.low <= exact <= alone.high
    ahead = tuple((d, sharpness(d)) for d in (0.3, 0.1, 0.0))
    better = ask(ADAM, Probe(probe.step, probe.sharpness, probe.moment_share, ahead))
    assert better.low is not None and better.step is not None and better.high is not None
    assert alone.low <= better.low <= exact <= better.high <= alone.high
    assert abs(better.step - exact) < 0.02 * exact


@many
@given(st.integers(0, 10_000), st.floats(-4.0, 1.0))
def test_bounds_hold_for_any_curvature(seed: int, log_eps: float) -> None:
    random = np.random.default_rng(seed)
    factor, root = random.normal(size=(4, 9)), 10.0 ** random.uniform(-3, 0, 9)
    eps = 10.0**log_eps

    def scaled(d: float) -> np.ndarray:
        return (factor / (d * root + eps)) @ factor.T

    def sharpness(d: float) -> float:
        return float(np.linalg.eigvalsh(scaled(d))[-1])

    values, vectors = np.linalg.eigh(scaled(1.0))
    weight = (factor.T @ vectors[:, -1]) ** 2 / (root + eps)
    share = float(weight @ (root / (root + eps)) / weight.sum())
    shares = np.linspace(0.0, 1.0, 41)
    exact = np.array([sharpness(d) for d in shares]) / values[-1]
    widths = []
    for known in ((), (0.0,), (0.3, 0.03), SHARES):
        ahead = tuple((d, sharpness(d)) for d in known)
        bounds = Probe(1, float(values[-1]), share, ahead).growth(shares)
        assert (bounds.low <= exact * (1 + 1e-9)).all()
        assert (bounds.high >= exact * (1 - 1e-9)).all()
        assert (bounds.low <= bounds.middle * (1 + 1e-9)).all()
        assert (bounds.middle <= bounds.high * (1 + 1e-9)).all()
        widths.append(float(np.log(bounds.high / bounds.low)[1:].sum()))
    assert widths[3] <= widths[1] + 1e-9 <= widths[0] + 2e-9


@many
@given(
    st.floats(0.01, 37.0),
    st.floats(1.0, 3.0),
    st.floats(0.0, 1.0),
    st.sampled_from([0.9, 0.99, 0.999, 0.9999]),
    st.integers(1, 5000),
)
def test_sharper_is_never_later(
    sharpness: float, more: float, share: float, beta2: float, start: int
) -> None:
    config = {**ADAM, "beta2": beta2}
    found = [ask(config, Probe(start, s, share)) for s in (sharpness, sharpness * more)]
    late, early = (one.step if one.step is not None else math.inf for one in found)
    assert start <= early <= late
    more_root = ask(config, Probe(start, sharpness, min(1.0, share + 0.1))).step
    assert (more_root if more_root is not None else math.inf) <= late
    low = found[0].low if found[0].low is not None else math.inf
    assert low <= late


@many
@given(st.floats(0.01, 37.0), st.floats(0.0, 1.0), st.integers(400, 5000))
def test_lr_that_falls_as_fast_as_the_root_never_crosses(
    sharpness: float, share: float, start: int
) -> None:
    # What the bias correction adds is sqrt(1 / (1 - b^t0)) at most.
    sharpness *= math.sqrt(1 - 0.999**start)
    gamma = math.sqrt(0.999) - 1e-9
    config = {**ADAM, "schedule": {"kind": "exponential", "gamma": gamma}}
    assert ask(config, Probe(start, sharpness, share), horizon=100_000).step is None


def test_millions_of_steps_overflow_nothing() -> None:
    probes = Probe(500, 1e-12, 1.0), Probe(300, 1e-14, 1.0)
    config = {**ADAM, "beta2": 0.5, "schedule": "cosine"}
    assert ask(config, probes[0], earlier=probes[1], horizon=2_000_000).step is not None


def test_safe_eps_by_hand() -> None:
    assert eps_of(ADAM, 3162.8) == pytest.approx(1e-3 * 3162.8 * 0.1 / 3.8)  # 0.0832
    assert eps_of({**ADAM, "amsgrad": True}, 3162.8) == pytest.approx(0.08323, abs=1e-5)
    assert eps_of({**ADAM, "weight_decay": 10.0}, 100.0) == pytest.approx(1e-3 * 110 / 38)
    assert eps_of({"optimizer": "rmsprop", "momentum": 0.9}, 38.0) == pytest.approx(0.1)
    assert eps_of({"optimizer": "nadam", "momentum_decay": 1e3}, 100.0) == pytest.approx(
        2e-3 * 100 * (0.1 + 0.9 / 19) / 2
    )


def test_safe_eps_looks_at_every_step() -> None:
    # beta1 is 0.85 at the peak of lr.
    found = eps_of({**ADAM, "schedule": "onecycle"}, 1000.0)
    assert found == pytest.approx(1e-3 * 1000 * 0.15 / 3.7, rel=1e-4)


def test_safe_eps_in_the_convention_of_eps_hat() -> None:
    # What is added after t updates is eps_hat / sqrt(1 - b^t), least at the end.
    bias = math.sqrt(1 - 0.999**500)
    found = eps_of({**ADAM, "eps_hat": True}, 3800.0, horizon=500)
    assert found == pytest.approx(0.1 * bias)
    assert eps_of({"optimizer": "radam"}, 3800.0, horizon=500) < 0.1 * bias


@pytest.mark.parametrize(
    ("config", "curvature", "full_batch", "reason"),
    [
        (ADAM, 1.0, False, "mini-batches"),
        ({"optimizer": "sgd"}, 1.0, True, "no eps"),
        ({"optimizer": "lion"}, 1.0, True, "same length"),
        ({"optimizer": "adaiw"}, 1.0, True, "inertia"),
        (ADAM, -1.0, True, "no positive curvature"),
        (ADAM, math.inf, True, "no positive curvature"),
        ({"optimizer": "radam", "beta2": 0.5}, 1.0, True, "preconditioned"),
    ],
)
def test_safe_eps_says_why_there_is_none(
    config: dict[str, Any], curvature: float, full_batch: bool, reason: str
) -> None:
    found = safe_eps(parse(config), 1000, curvature, full_batch=full_batch)
    assert found.value is None
    assert reason in found.reason


def eps_of(config: dict[str, Any], curvature: float, horizon: int = 1000) -> float:
    found = safe_eps(parse(config), horizon, curvature, full_batch=True).value
    assert found is not None
    return found
