"""Policies on hand-made tables, and that each is a total order."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import both, climbed, diverged, run, table

from sweeper.errors import SweepError
from sweeper.ranking import POLICIES
from sweeper.ranking.evidence import Evidence
from sweeper.ranking.policies import KEYS
from sweeper.ranking.ranking import rank
from sweeper.ranking.robust import loss_bins, resolution
from sweeper.ranking.target import choose_target


def order(trials: Any, policy: str = "robust", evidence: Evidence | None = None) -> list[int]:
    return [row["trial"] for row in rank(trials, policy, evidence)]


MIXED = {
    0: [climbed(1e-9, 1e-8), climbed(1e-9, 1e-8)],  # late climber with a good end
    1: [run(1e-6), run(2e-6)],
    2: [run(1e-3, best_loss=1e-10), run(1e-3, best_loss=1e-10)],
    3: [run(1e-7), climbed(1e-9, 1e-9)],
    4: [diverged(), run(1e-8)],
    5: [run(1e-1, curve=[[0, 1.0], [50, 1e-1]]), run(1e-1, curve=[[0, 1.0], [50, 1e-1]])],
}


def test_robust_and_final_disagree_on_a_late_climber_with_a_good_end() -> None:
    trials, evidence = both(MIXED)
    assert order(trials, "robust", evidence) == [1, 2, 5, 3, 4, 0]
    assert order(trials, "final", evidence) == [0, 3, 1, 2, 5, 4]
    assert order(trials, "best", evidence) == [2, 0, 3, 1, 5, 4]
    # Trial 4 has a run that ended before the early step.
    assert order(trials, "early", evidence) == [5, 0, 1, 2, 3, 4]


def test_the_table_alone_gives_the_order_of_the_worst_seeds() -> None:
    trials = table(MIXED)
    assert order(trials) == [1, 2, 5, 3, 4, 0]
    assert order(trials, "final") == [0, 3, 1, 2, 5, 4]
    assert order(trials, "best") == [2, 0, 3, 1, 5, 4]


def test_the_stress_test_counts_before_the_search() -> None:
    runs = {n: [run(10.0 ** -(n + 2))] * 2 for n in range(4)}
    stress = {
        3: [run(1e-5), *[climbed(1e-9, 1e-9)] * 4],  # the best of the search fails
        2: [run(1e-4)] * 5,
        1: [run(1e-6)] * 5,  # the better one under stress
    }
    trials, evidence = table(runs), Evidence(runs=runs, stress=stress)
    assert order(trials, "robust", evidence) == [1, 2, 0, 3]
    assert order(trials, "final", evidence) == [3, 2, 1, 0]


def test_steps_and_width_decide_what_the_seeds_cannot_tell() -> None:
    runs = {0: [run(1.0e-6)], 1: [run(1.1e-6)], 2: [run(1.2e-6)], 3: [run(1e-5)]}
    steps, width = {0: 900, 1: 300, 2: 300, 3: 10}, {1: 0.1, 2: 0.5}
    trials = table(runs, steps_to_target=steps, neighbourhood_width=width)
    assert order(trials) == [2, 1, 0, 3]
    assert order(table(runs, steps_to_target={**steps, 1: None, 2: None})) == [0, 1, 2, 3]
    slow = {n: [one | {"steps_to_target": steps[n]} for one in own] for n, own in runs.items()}
    assert order(table(runs), "robust", Evidence(runs=slow)) == [1, 2, 0, 3]


def test_seeds_that_disagree_make_wide_bins() -> None:
    agree = {n: [run(10.0 ** -(8 - n))] * 3 for n in range(3)}
    disagree = {n: [run(10.0 ** -(14 - n)), run(10.0**-n / 1e3)] for n in range(3)}
    for runs, expected in ((agree, [0, 1, 2]), (disagree, [2, 1, 0])):
        trials = table(runs, steps_to_target={0: 30, 1: 20, 2: 10})
        assert order(trials, "robust", Evidence(runs=runs)) == expected
    feasible = np.ones(3, dtype=bool)
    assert resolution(table(agree), Evidence(runs=agree), feasible) == 0.3
    assert resolution(table(disagree), Evidence(runs=disagree), feasible) > 2


def test_bins_are_counted_from_the_best_feasible_loss() -> None:
    losses = np.array([-5.0, -4.8, -4.69, -4.0, -9.0, np.inf])
    feasible = np.array([True, True, True, True, False, True])
    assert loss_bins(losses, feasible, 0.3).tolist() == [0, 0, 1, 3, -14, np.inf]
    assert loss_bins(losses, feasible, 0.0)[:2] == pytest.approx([0.0, 0.2])
    assert loss_bins(losses[-1:], feasible[-1:], 0.3).tolist() == [np.inf]
    assert loss_bins(losses[4:5], feasible[4:5], 0.3).tolist() == [0]


def test_one_negative_loss_makes_all_of_them_plain() -> None:
    runs = {
        0: [run(-5.0, negative=True)],
        1: [run(100.0)],  # 2 decades, fewer than the -1.0 of the next
        2: [run(-1.0, negative=True)],
        3: [run(50.0)],
    }
    assert order(table(runs), "robust", Evidence(runs=runs)) == [0, 2, 3, 1]
    assert order(table(runs), "final", Evidence(runs=runs)) == [0, 2, 3, 1]


@pytest.mark.parametrize("policy", ["robust", "final", "best"])
def test_all_failed_or_unknown_trials_have_an_order(policy: str) -> None:
    runs = {2: [diverged()], 0: [diverged(), diverged()], 1: [diverged()]}
    assert sorted(order(*both(runs)[:1], policy, both(runs)[1])) == [0, 1, 2]
    nothing = {"robust_loss": math.nan, "failure_fraction": None, "final_loss": math.inf}
    rows = [{"trial": 3}, {"trial": 1, **nothing}, {"trial": 2, "best_loss": None}]
    assert order(rows, policy) == [1, 2, 3]


def test_what_is_not_known_to_hold_comes_after_what_is() -> None:
    rows = [{"trial": 0, "robust_loss": -9.0}, *table({1: [run(1e-2)]})]
    assert order(rows) == [1, 0]


def test_early_without_any_early_loss() -> None:
    with pytest.raises(SweepError, match="no trial has an early loss"):
        rank(table(MIXED), "early")
    assert rank([], "early") == []
    assert order(table(MIXED, early_loss={2: 0.1, 4: 0.2}), "early") == [2, 4, 0, 1, 3, 5]


def test_an_unknown_policy() -> None:
    with pytest.raises(SweepError) as caught:
        rank([], "robst")
    assert "unknown policy 'robst'; allowed: best, early, final, lr_sensitivity, robust" in str(
        caught.value
    )
    assert "Did you mean 'robust'?" in str(caught.value)
    assert tuple(KEYS) == POLICIES


@pytest.mark.parametrize(
    ("given_target", "origins", "expected"),
    [
        (0.5, {0: "baseline"}, 0.5),
        (None, {0: "baseline", 3: "baseline"}, 1e-3),
        (None, {1: "baseline"}, 1e-2),  # it has no tail: the median of the others
        (None, {}, 1e-2),
    ],
)
def test_choose_target(
    given_target: float | None, origins: dict[int, str], expected: float
) -> None:
    runs = {0: [run(1e-3)], 1: [diverged()], 2: [run(1e-2)], 3: [run(1e-1)]}
    assert choose_target(table(runs, origin=origins), given_target) == expected


def test_choose_target_of_nothing() -> None:
    assert choose_target(table({1: [diverged()]})) is None
    assert choose_target([]) is None


# Total orders

values = st.none() | st.floats(width=32) | st.sampled_from([0.0, -1.0, -1.1, -1.2, 1e300, -1e300])
shares = st.none() | st.sampled_from([0.0, 0.5, 1.0])
configs = st.fixed_dictionaries(
    {
        "lr": st.sampled_from([1e-4, 1e-3, 2e-3, 1e-1]),
        "optimizer": st.sampled_from(["adam", "sgd"]),
        "betas": st.sampled_from([[0.9, 0.99], [0.5, 0.999]]),
    },
    optional={"eps": st.sampled_from([1e-8, 1e-3, 1]), "warmup": st.none() | st.just(0.1)},
)
rows = st.fixed_dictionaries(
    {"config": configs, "early_loss": st.floats(0, 10)},
    optional={
        "robust_loss": values,
        "failure_fraction": shares,
        "violation": values,
        "final_loss": values,
        "best_loss": values,
        "first_loss": values,
        "steps_to_target": st.none() | st.integers(0, 5),
        "neighbourhood_width": values,
        "runs": st.integers(1, 5),
    },
)
runs_of = st.lists(
    st.builds(run, st.floats(1e-12, 1e3)) | st.builds(diverged) | st.builds(
        climbed, st.floats(1e-12, 1.0), st.floats(1e-12, 1.0)
    ) | st.builds(run, st.floats(-5, 5), negative=st.just(True)),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(rows, min_size=1, max_size=9), st.sampled_from(POLICIES), st.data())
def test_any_table_has_one_order(table: list[dict], policy: str, data: st.DataObject) -> None:
    numbers = data.draw(st.permutations(range(len(table))))
    trials = [{"trial": number, **row} for number, row in zip(numbers, table, strict=True)]
    known = st.dictionaries(st.sampled_from(numbers), runs_of)
    runs = data.draw(known)
    if policy == "early":  # refused where not one run has an early loss
        runs[numbers[0]] = [run(1e-3)]
    evidence = Evidence(runs, data.draw(known), early_step=100)
    keys = KEYS[policy](sorted(trials, key=lambda t: t["trial"]), evidence)
    assert len(set(keys)) == len(trials)  # no two are equal
    assert not any(math.isnan(part) for key in keys for part in key)  # which no sort would order
    found = rank(trials, policy, evidence)
    assert [row["rank"] for row in found] == list(range(1, len(trials) + 1))
    assert found == rank(data.draw(st.permutations(trials)), policy, evidence)
