"""The streaming verdict against one written down from its definition, step by step."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spike_definition import scores

from sweeper.stability.limits import Limits
from sweeper.stability.verdict import RunFacts, Verdict

TINY = 2.2250738585072014e-308


@dataclass
class Excursion:
    """Looks for the first streak of a given length, one step at a time."""

    need: int
    start: int | None = None
    length: int = 0

    def see(self, step: int, over: bool) -> None:
        self.length = self.length + 1 if over else 0
        if self.length == self.need and self.start is None:
            self.start = step - self.need + 1


def brute_force(losses: np.ndarray, facts: RunFacts, limits: Limits) -> dict[str, Any]:
    """The verdict on a whole run, every step by itself and as the definition says it."""
    horizon = facts.horizon
    bad = [t for t, loss in enumerate(losses) if not math.isfinite(loss)]
    loss = [min(max(float(x), -1e300), 1e300) for x in losses[: bad[0] if bad else horizon]]
    window = 1
    if facts.epoch_steps > 1:
        window = max(1, min(max(facts.epoch_steps, 50), horizon // 20))
    grace = max(round(0.05 * horizon), facts.warmup)
    hold = max(50, horizon // 200)
    patience = Excursion(max(1, round(0.05 * horizon)))
    giving_back = Excursion(hold)
    onsets: list[int] = []
    floor = facts.floor * abs(loss[0]) if loss else 0.0
    least = max(floor, TINY, 1e-12 * abs(loss[0]) if loss and window > 1 else 0.0)
    best, negative, draw_up, climbed = math.inf, False, 0.0, False
    ratios: list[float] = []
    for t in range(len(loss)):
        smooth = float(np.mean(loss[max(0, t - window + 1) : t + 1])) if window > 1 else loss[t]
        negative = negative or loss[t] < 0
        lifted = smooth if negative else max(smooth, floor)
        best = min(best, lifted)
        if t < grace:
            continue
        if not negative:
            decades = float(np.log10(max(lifted, TINY)) - np.log10(max(best, TINY)))
            draw_up = max(draw_up, decades)
            if decades >= limits.climb and not climbed:
                climbed = True
                onsets.append(t)
        progress = max(loss[0] - best, least)
        with np.errstate(over="ignore"):
            ratios.append(min(float(np.float64(lifted - best) / progress), 1e9))
        giving_back.see(t, ratios[-1] > limits.give_back)
        patience.see(t, loss[0] > 0 and smooth > 10 * loss[0])
        if patience.start is not None:  # nothing after it counts
            loss, bad = loss[: t + 1], []
            break
    held = [min(ratios[i : i + hold]) for i in range(len(ratios) - hold + 1)]
    onsets += bad[:1]
    onsets += [e.start for e in (giving_back, patience) if e.start is not None]
    tail_start = horizon - max(1, round(limits.tail * horizon))
    worst = np.sort(loss[tail_start:])[-max(1, round(0.1 * (horizon - tail_start))) :]
    has_tail = len(loss) == horizon and patience.start is None
    return {
        "steps": len(loss),
        "finite": not bad,
        "hopeless": patience.start is not None,
        "negative": negative,
        "failed": bool(onsets),
        "first_loss": loss[0] if loss else None,
        "best_loss": min(loss, default=None),
        "final_loss": loss[-1] if loss and not bad else None,
        "tail_loss": float(worst.mean()) if has_tail else None,
        "floor": floor,
        "draw_up": draw_up,
        "give_back": max([0.0, *held]),
        **scores(np.array(loss), facts.floor),
        "onset_step": min(onsets, default=None),
        "stable_steps": min(onsets, default=len(loss)),
    }


def random_losses(rng: np.random.Generator, horizon: int, kind: str) -> np.ndarray:
    """A loss of a given character; all of them positive but the negative one."""
    steps = np.arange(horizon)
    falling = np.exp(-steps / rng.uniform(1, horizon)) + 10 ** rng.uniform(-14, 0)
    noisy = falling * np.exp(rng.normal(0, rng.uniform(0, 2), horizon))
    start, length = (int(x) for x in rng.integers(0, [horizon, max(1, horizon // 2)]))
    bump = (steps >= start) & (steps < start + length)
    return {
        "falling": falling,
        "noisy": noisy,
        "walk": np.exp(np.cumsum(rng.normal(0, 0.3, horizon))),
        "spikes": np.where(rng.random(horizon) < 0.1, 10 ** rng.uniform(0, 12), noisy),
        "bump": np.where(bump, 10 ** rng.uniform(-3, 6), falling),
        "growing": np.exp(steps / rng.uniform(1, horizon)),
        "constant": np.full(horizon, 10 ** rng.uniform(-3, 3)),
        "zeros": np.where(rng.random(horizon) < 0.3, 0.0, noisy),
        "from zero": np.where(steps == 0, 0.0, noisy),
        "huge": np.where(bump, 1.7e308, falling * 1e300),
        "tiny": falling * 1e-300,
        "negative": rng.normal(rng.uniform(0, 3), 1.0, horizon),
        "turning negative": np.where(steps >= start, falling - 0.5, falling),
    }[kind]


KINDS = [
    *("falling", "noisy", "walk", "spikes", "bump", "growing", "constant", "zeros"),
    *("from zero", "huge", "tiny", "negative", "turning negative"),
]


def streamed(
    losses: np.ndarray, facts: RunFacts, limits: Limits, rng: np.random.Generator
) -> dict[str, Any]:
    """The verdict from random chunks, saved and restored in between."""
    verdict, position = Verdict(facts, limits), 0
    while position < len(losses):
        size = int(rng.choice([1, 2, 7, 60, 500, int(rng.integers(0, len(losses) + 1))]))
        verdict.update(losses[position : position + size])
        position += size
        if rng.random() < 0.2:
            verdict = again(verdict)
    return verdict.result()


def again(verdict: Verdict) -> Verdict:
    """A verdict that goes on from what was saved, as text and arrays."""
    values, arrays = verdict.state()
    restored = Verdict(verdict.facts, verdict.limits)
    copies = {name: array.copy() for name, array in arrays.items()}
    restored.restore(json.loads(json.dumps(values)), copies)
    return restored


def case(
    seed: int, kind: str, horizon: int, epoch_steps: int
) -> tuple[np.ndarray, RunFacts, Limits]:
    rng = np.random.default_rng([seed, horizon])
    losses = random_losses(rng, horizon, kind)
    if rng.random() < 0.3:
        losses[rng.integers(0, horizon)] = rng.choice([np.nan, np.inf, -np.inf])
    warmup = int(rng.choice([0, 0, 1, horizon // 3, horizon]))
    floor = float(rng.choice([0.0, 1e-14, 1.2e-7]))
    limits = Limits(*(float(rng.choice(x)) for x in ([1, 3], [0.05, 0.2, 2], [0.2, 0.01, 1])))
    return losses, RunFacts(horizon, warmup, epoch_steps, floor), limits


HORIZONS = [*range(1, 61), 99, 100, 250, 1000, 1500]


@pytest.mark.parametrize("kind", KINDS)
def test_full_batch_equals_the_definition(kind: str) -> None:
    rng = np.random.default_rng(1)
    for seed, horizon in enumerate(HORIZONS + [300, 400, 700] * 5):
        losses, facts, limits = case(seed, kind, horizon, 1)
        assert streamed(losses, facts, limits, rng) == brute_force(losses, facts, limits), seed


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tiny"])
@pytest.mark.parametrize("epoch_steps", [3, 70])
def test_trailing_mean_equals_the_definition(kind: str, epoch_steps: int) -> None:
    rng = np.random.default_rng(2)
    for seed, horizon in enumerate([*range(1, 61, 6), 200, 1000, 1100, 1700]):
        losses, facts, limits = case(seed, kind, horizon, epoch_steps)
        found = streamed(losses, facts, limits, rng)
        expected = brute_force(losses, facts, limits)
        for key, value in expected.items():
            # Without any progress what was given back is a rounding over 1e-12 of the loss.
            slack = 1e-2 if key == "give_back" and kind == "constant" else 1e-9
            close = pytest.approx(value, 1e-9, slack) if isinstance(value, float) else value
            assert found[key] == close, (key, seed)


def test_the_cases_reach_every_end() -> None:
    found = [
        brute_force(*case(seed, kind, horizon, 1))
        for kind in KINDS
        for seed, horizon in enumerate(HORIZONS)
    ]
    for key in ("finite", "hopeless", "negative", "failed"):
        assert {result[key] for result in found} == {True, False}, key
    for key in ("tail_loss", "first_loss", "onset_step"):
        assert 10 < sum(result[key] is None for result in found) < len(found) - 10, key
    assert sum(result["give_back"] > 0.05 for result in found) > 10
    assert sum(result["draw_up"] >= 1 for result in found) > 10


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(st.floats() | st.sampled_from([0.0, 1.0, 1e300, 1e-320]), min_size=1, max_size=130),
    st.integers(0, 200),
    st.sampled_from([0.0, 1e-7]),
    st.integers(0, 10**6),
)
def test_any_floats(losses: list[float], warmup: int, floor: float, seed: int) -> None:
    facts, limits = RunFacts(len(losses), warmup, 1, floor), Limits(climb=1.0)
    series = np.array(losses)
    expected = brute_force(series, facts, limits)
    assert streamed(series, facts, limits, np.random.default_rng(seed)) == expected
    json.dumps(expected, allow_nan=False)
