"""The order of trials."""

import itertools
from typing import Any

from sweeper.ranking.ranking import rank


def trial(number: int, failures: float, loss: float, **more: Any) -> dict[str, Any]:
    return {"trial": number, "failure_fraction": failures, "robust_loss": loss, **more}


ORDERED = [
    trial(7, 0.0, -12.0),
    trial(3, 0.0, -1.0),
    trial(5, 0.0, -1.0),
    trial(0, 0.5, -14.0),
    trial(1, 1.0, -14.0),
    trial(2, 1.0, 308.0),
]


def test_those_that_hold_come_first_then_the_lowest_loss_then_the_oldest() -> None:
    for given in itertools.permutations(ORDERED):
        assert [one["trial"] for one in rank(given)] == [7, 3, 5, 0, 1, 2]


def test_rank_comes_first_and_the_rest_is_kept() -> None:
    found = rank([trial(4, 0.0, -1.0, config={"lr": 1.0})])
    assert found == [{"rank": 1, **trial(4, 0.0, -1.0, config={"lr": 1.0})}]
    assert next(iter(found[0])) == "rank"


def test_ranked_trials_can_be_ranked_again() -> None:
    once = rank(ORDERED)
    assert [one["rank"] for one in once] == [1, 2, 3, 4, 5, 6]
    assert [(one["rank"], one["trial"]) for one in rank(once[2:])] == [
        (1, 5),
        (2, 0),
        (3, 1),
        (4, 2),
    ]


def test_all_failed_trials_still_have_an_order() -> None:
    found = rank(one for one in ORDERED if one["failure_fraction"] == 1.0)
    assert [one["trial"] for one in found] == [1, 2]


def test_nothing_to_rank() -> None:
    assert rank([]) == []
