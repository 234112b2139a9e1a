"""Spike scores against their definition, on any series cut anyhow."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spike_definition import scores, spikes

from sweeper.stability.limits import Limits
from sweeper.stability.spikes import FORMS, SpikeCounter, SpikeForm, trailing_deviations
from sweeper.stability.verdict import RunFacts, Verdict

many = settings(max_examples=300, deadline=None, derandomize=True)
series = st.lists(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, 1.0, -1.0, 1e-12, 1e2, 0.1, 1e150, 1e300, 1e-320]),
    min_size=1,
    max_size=80,
)


def counted(
    losses: np.ndarray, cuts: list[int], floor: float = 0.0, **forms: SpikeForm
) -> dict[str, float | None]:
    """Scores from chunks, saved as text and restored at every cut."""
    counter = SpikeCounter(floor, forms or FORMS)
    for piece in np.split(losses, sorted(cuts)):
        counter.update(piece)
        values, recent = counter.state()
        counter = SpikeCounter(floor, forms or FORMS)
        counter.restore(json.loads(json.dumps(values)), recent.copy())
    return counter.result()


@many
@given(series, st.integers(1, 9), st.booleans(), st.floats(0.5, 3.0), st.data())
def test_any_series_in_any_chunks(
    values: list[float], window: int, is_upward: bool, deviations: float, data: st.DataObject
) -> None:
    losses = np.array(values)
    floor = data.draw(st.sampled_from([0.0, 1e-7]))
    form = SpikeForm(window, deviations, is_upward, first=data.draw(st.integers(1, window)))
    cuts = data.draw(st.lists(st.integers(0, losses.size), max_size=5))
    found = counted(losses, cuts, floor, x=form)["x"]
    assert found == counted(losses, [], floor, x=form)["x"]
    if losses.size < form.first:
        assert found is None
        return
    assert found is not None
    # Not asked of which side of its limit a value is that lies on it.
    certain, possible = spikes(losses, form, floor, slack=1e-9)
    assert certain <= round(found * losses.size) <= possible


def adversary(rng: np.random.Generator, kind: str, steps: int) -> np.ndarray:
    """A series on which running sums of squares fail, or windows without spread."""
    time = np.arange(steps)
    noise = rng.normal(size=steps)
    spiky = np.where(rng.random(steps) < 0.003, 10 ** rng.uniform(-3, 12, steps), 0.0)
    return {
        "spikes": 1.0 + 0.01 * noise + spiky,
        "falling": 10 ** (2 - 14 * time / steps) * np.exp(0.01 * noise) * (1 + spiky),
        "offset": 1e6 + 1e-6 * noise + 1e-5 * spiky,
        "after a spike": np.where(time == 10, 1e150, 1e-12 * (1 + 0.1 * noise)) + 1e-12 * spiky,
        "constant": np.full(steps, 0.1),
        "constant with jumps": np.where(rng.random(steps) < 0.002, 0.2, 0.1),
        "steps": np.floor(time / 700) * 0.1 + 0.1,
        "plateau in float32": np.float32(0.7) + np.float32(6e-8) * np.round(noise),
        "negative": noise - 5.0 - spiky,
        "tiny": 1e-300 * noise,
        "heavy tails": rng.standard_cauchy(steps),
    }[kind]


KINDS = [
    *("spikes", "falling", "offset", "after a spike", "constant", "constant with jumps", "steps"),
    *("plateau in float32", "negative", "tiny", "heavy tails"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [127, 128, 129, 1000, 1001, 6500])
def test_both_forms_on_adverse_series(kind: str, steps: int) -> None:
    rng = np.random.default_rng([steps, KINDS.index(kind)])
    losses = adversary(rng, kind, steps)
    expected = scores(losses)
    for cuts in ([], [1], [128], [999, 1000], sorted(rng.integers(0, steps, 9).tolist())):
        assert counted(losses, cuts) == expected
    assert counted(losses, [], floor=1e-3) == scores(losses, floor=1e-3)


def test_the_adverse_series_have_spikes() -> None:
    found = [scores(adversary(np.random.default_rng(3), kind, 6500)) for kind in KINDS]
    for name in FORMS:
        assert sum((score[name] or 0.0) > 0 for score in found) >= 6


def test_deviations_are_as_precise_as_if_each_window_were_alone() -> None:
    losses = adversary(np.random.default_rng(4), "falling", 5000)
    losses[1500] = 1e12
    deviation, variance = trailing_deviations(losses, 0, 1000)
    for step in range(1000, 5000, 7):
        window = losses[step - 1000 : step].astype(np.longdouble)
        assert variance[step] == pytest.approx(float(window.var()), rel=1e-10)
        sd = math.sqrt(variance[step])
        mean = float(np.longdouble(losses[step]) - window.mean())
        assert deviation[step] == pytest.approx(mean, abs=1e-11 * sd, rel=1e-11)


@pytest.mark.parametrize(
    ("value", "both_ways", "upward"),
    [(9.0, 1, 1), (8.9, 0, 1), (8.1, 0, 1), (7.9, 0, 0), (-4.9, 0, 0), (-5.0, 1, 0)],
)
def test_what_a_spike_is(value: float, both_ways: int, upward: int) -> None:
    quiet = np.tile([1.0, 3.0], 500)  # mean 2, standard deviation 1
    found = counted(np.append(quiet, value), [])
    assert found == {"spike_score": both_ways / 1001, "upward_spike_score": upward / 1001}


def test_many_spikes_hide_the_next_ones_until_they_leave_the_window() -> None:
    losses = np.tile([1.0, 3.0], 1000)
    losses[[1000, 1010, 1020, 1030, 1040, 1050, 1500]] = 100.0
    # Four of them among 128 losses make a standard deviation of 17: the next two are below 6.
    assert counted(losses, []) == {"spike_score": 7 / 2000, "upward_spike_score": 5 / 2000}


def test_rounding_is_no_spike() -> None:
    losses = np.full(2000, 0.7)
    losses[1500] += 1e-8
    assert counted(losses, [])["spike_score"] == 1 / 2000  # a window without any spread
    assert counted(losses, [], floor=1e-7)["spike_score"] == 0.0


def test_a_short_run_has_no_score() -> None:
    assert set(counted(np.ones(127), []).values()) == {None}
    assert set(counted(np.ones(128), []).values()) == {0.0}
    assert set(SpikeCounter().result().values()) == {None}


def verdict_on(losses: np.ndarray) -> Verdict:
    verdict = Verdict(RunFacts(4000, 0, 1, 1e-7), Limits())
    verdict.update(losses)
    return verdict


def test_nothing_is_counted_from_the_first_nan_on() -> None:
    losses = adversary(np.random.default_rng(5), "spikes", 3000)
    losses[2500] = math.nan
    found = verdict_on(losses).result()
    assert {name: found[name] for name in FORMS} == scores(losses[:2500], floor=1e-7)


def test_an_old_state_has_its_spikes_counted_from_there_on() -> None:
    losses = adversary(np.random.default_rng(6), "spikes", 4000)
    values, arrays = verdict_on(losses[:1500]).state()
    del values["spikes"], arrays["spikes"]
    verdict = Verdict(RunFacts(4000, 0, 1, 1e-7), Limits())
    verdict.restore(values, arrays)
    verdict.update(losses[1500:])
    found, whole = verdict.result(), verdict_on(losses).result()
    assert found["spike_score"] == spikes(losses[1500:], FORMS["spike_score"], 1e-7)[0] / 2500
    assert found | dict.fromkeys(FORMS) == whole | dict.fromkeys(FORMS)
