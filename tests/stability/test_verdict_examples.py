"""Small runs that show what each word of the verdict means."""

import math
from typing import Any

import numpy as np
import pytest

from sweeper.stability.limits import Limits
from sweeper.stability.verdict import RunFacts, Verdict


def judge(
    losses: list[float] | np.ndarray, limits: Limits | None = None, **changes: Any
) -> dict[str, Any]:
    facts = {"horizon": len(losses), "warmup": 0, "epoch_steps": 1, "floor": 1e-9}
    verdict = Verdict(RunFacts(**{**facts, **changes}), limits or Limits())
    verdict.update(np.asarray(losses))
    return verdict.result()


def test_climb_fails_at_its_first_step() -> None:
    found = judge([1.0] * 100 + [1e-3] * 10 + [0.5] * 5 + [1.0, 2.0] + [1e-3] * 83)
    assert found["onset_step"] == 115  # 1.0 is 3 decades above 1e-3, 0.5 isn't
    assert found["stable_steps"] == 115
    assert found["draw_up"] == pytest.approx(math.log10(2000.0))
    assert found["give_back"] == 0.0


def test_give_back_fails_at_the_first_step_of_the_streak_that_lasted() -> None:
    good, back = [0.5], [0.75]  # half of the progress is given back
    found = judge([1.0] * 20 + good * 20 + back * 49 + good * 11 + back * 50 + good * 50)
    assert (found["onset_step"], found["give_back"]) == (100, 0.5)
    found = judge([1.0] * 20 + good * 20 + back * 49 + good * 11 + back * 49 + good * 51)
    assert (found["onset_step"], found["give_back"]) == (None, 0.0)


def test_just_the_limit_is_not_given_back() -> None:
    losses = [1.0] * 20 + [0.5] * 20 + [0.75] * 160
    assert judge(losses, Limits(give_back=0.5))["failed"] is False
    assert judge(losses, Limits(give_back=0.49))["onset_step"] == 40


def test_what_happens_in_the_grace_is_forgiven() -> None:
    losses = [1.0, 1e-6, *[1.0] * 58, *[1e-6] * 140]
    assert judge(losses, warmup=60)["failed"] is False
    assert judge(losses, warmup=60)["draw_up"] == 0.0
    assert judge(losses)["onset_step"] == 10  # 5 % of 200


def test_a_streak_starts_after_the_grace() -> None:
    losses = [1.0, 0.5, *[0.75] * 198]
    assert judge(losses, warmup=150)["onset_step"] == 150
    assert judge(losses, warmup=151)["onset_step"] is None


def test_non_finite_fails_even_in_the_grace() -> None:
    found = judge([1.0, 0.5, math.nan, 7.0], warmup=4)
    assert (found["finite"], found["failed"], found["onset_step"]) == (False, True, 2)
    assert (found["steps"], found["best_loss"]) == (2, 0.5)
    assert (found["final_loss"], found["tail_loss"]) == (None, None)


def test_non_finite_from_the_start() -> None:
    found = judge([math.inf])
    assert (found["first_loss"], found["best_loss"], found["onset_step"]) == (None, None, 0)


def test_nothing_counts_after_a_non_finite_loss() -> None:
    verdict = Verdict(RunFacts(4, 0, 1, 0.0), Limits())
    for loss in (1.0, math.nan, 0.1, math.nan):
        verdict.update(np.array([loss]))
    assert (verdict.result()["steps"], verdict.result()["best_loss"]) == (1, 1.0)


def test_hopeless_fails_from_the_start_of_its_streak() -> None:
    # 5 % of 200 steps are 10: too short for a give-back, too low for a climb.
    found = judge([1.0] * 50 + [11.0] * 10 + [1.0] * 140)
    assert (found["hopeless"], found["failed"], found["onset_step"]) == (True, True, 50)
    assert found["tail_loss"] is None
    assert judge([1.0] * 50 + [11.0] * 9 + [1.0] * 141)["failed"] is False
    assert judge([1.0] * 50 + [10.0] * 10 + [1.0] * 140)["failed"] is False


def test_below_the_floor_there_is_nothing_to_climb() -> None:
    losses = [1.0, *[1e-30] * 99, *[1e-9] * 100]
    assert judge(losses)["draw_up"] == 0.0
    assert judge(losses, floor=0.0)["draw_up"] == pytest.approx(21.0)


def test_climbs_before_the_first_negative_loss_count() -> None:
    found = judge([1.0] * 20 + [1e-5] * 20 + [1.0] * 2 + [-1.0] * 158)
    assert (found["negative"], found["onset_step"]) == (True, 40)
    found = judge([1.0] * 20 + [1e-5] * 20 + [-1.0] * 10 + [5.0] * 2 + [-1.0] * 148)
    assert (found["negative"], found["onset_step"], found["draw_up"]) == (True, None, 0.0)


def test_the_tail_is_the_worst_tenth_of_its_share() -> None:
    losses = [9.0, *np.linspace(1.0, 0.5, 199)]
    losses[170] = losses[185] = 3.0
    # The tail is 40 steps, its worst tenth 4 of them.
    expected = np.mean([3.0, 3.0, losses[160], losses[161]])
    assert judge(losses)["tail_loss"] == pytest.approx(expected)
    assert judge(losses[:-1], horizon=200)["tail_loss"] is None


def test_a_mini_batch_run_is_judged_by_its_mean() -> None:
    losses = np.full(2000, 1e-4)
    losses[0], losses[700] = 1.0, 1.0
    assert judge(losses)["onset_step"] == 700
    assert judge(losses, epoch_steps=10)["failed"] is False


def test_a_constant_loss_holds() -> None:
    for epoch_steps in (1, 7, 60):
        found = judge(np.full(2000, 0.1), epoch_steps=epoch_steps, floor=0.0)
        assert (found["failed"], found["draw_up"]) == (False, pytest.approx(0.0, abs=1e-12))


def test_memory_is_the_windows_the_hold_and_the_worst_of_the_tail() -> None:
    verdict = Verdict(RunFacts(20_000, 0, 70, 1e-9), Limits())
    for _ in range(100):
        verdict.update(np.ones(200))
    arrays = verdict.state()[1]
    assert {name: array.size for name, array in arrays.items()} == {
        "recent": 69,
        "ratios": 99,
        "worst": 400,
        "spikes": 1000,
    }
