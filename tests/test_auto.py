"""`auto` in a search space: which range comes from which optimizer."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper import auto
from sweeper.errors import SweepError
from sweeper.spec import check

FOUND = {"adamw": [1e-3, 1e-1], "sgd": [1e-2, 2.0]}
RAW: dict[str, Any] = {"name": "a", "task": "digits", "horizon": 100}


def test_before_the_test_it_is_all_that_will_be_looked_at() -> None:
    spec = check({**RAW, "space": {"lr": "auto"}, "lr_range": {"low": 1e-6, "high": 1.0}})
    assert spec.awaits_range_test
    (lr,) = spec.parsed_space.flat()
    assert (lr.low, lr.high) == (1e-6, 1.0)  # type: ignore[union-attr]


def test_one_lr_for_all_optimizers_spans_all_their_ranges() -> None:
    space = {"optimizer": {"choice": ["adamw", "sgd"]}, "lr": "auto"}
    filled = auto.filled(space, FOUND, (0, 1))
    assert filled["lr"] == {"log_uniform": [pytest.approx(1e-4), 2.0]}


def test_each_branch_has_that_of_its_optimizer() -> None:
    space = {"optimizer": {"choice": {"adamw": {"lr": "auto"}, "sgd": {"lr": "auto"}}}}
    filled = auto.filled(space, FOUND, (0, 1))["optimizer"]["choice"]
    assert filled["adamw"]["lr"] == {"log_uniform": [pytest.approx(1e-4), 1e-1]}
    assert filled["sgd"]["lr"] == {"log_uniform": [pytest.approx(1e-3), 2.0]}


def test_a_cyclical_schedule_falls_to_where_learning_begins() -> None:
    space = {"lr": 1.0, "schedule": {"choice": {"cyclical": {"base": "auto"}, "onecycle": {}}}}
    assert auto.is_asked(space)
    filled = auto.filled(space, FOUND, (0, 1))["schedule"]["choice"]
    assert filled == {"cyclical": {"base": 0.005}, "onecycle": {}}


def test_found_ranges_decide_nothing_of_which_sweep_it_is() -> None:
    raw = {**RAW, "space": {"lr": "auto"}}
    known = check({**raw, "lr_range": {"found": {"adam": [1e-3, 1e-1]}}})
    assert not known.awaits_range_test
    assert known.meaning() == check(raw).meaning()
    assert check({**raw, "lr_range": {"steps": 50}}).meaning() != check(raw).meaning()


@pytest.mark.parametrize("space", [{"eps": "auto"}, {"lr": "automatic"}, {"task_args": {}}])
def test_nothing_else_is_auto(space: dict[str, Any]) -> None:
    assert not auto.is_asked({"lr": 1e-3, **space})


def test_an_auto_elsewhere_is_refused_with_its_key() -> None:
    with pytest.raises(SweepError, match=r"space\.eps"):
        check({**RAW, "space": {"lr": 1e-3, "eps": "auto"}})


@pytest.mark.parametrize(
    "test", [{"low": 1.0, "high": 0.1}, {"low": 0}, {"steps": 5}, {"pick": "slide"}]
)
def test_a_wrong_test_is_refused_with_its_key(test: dict[str, Any]) -> None:
    with pytest.raises(SweepError, match="lr_range"):
        check({**RAW, "space": {"lr": "auto"}, "lr_range": test})
