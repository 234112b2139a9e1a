"""Configurations: complete and canonical, read back as they were, and what is refused."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.errors import SweepError
from sweeper.optim.catalog import LENGTHS, OPTIMIZERS, SCHEDULES, Flag, Real
from sweeper.optim.configuration import Schedule, check_horizon, parse

ADAM = {
    "optimizer": "adam",
    "lr": 1e-3,
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "weight_decay": 0.0,
    "amsgrad": False,
    "schedule": {"kind": "constant", "warmup": 0.0},
}
SGD = {
    "optimizer": "sgd",
    "lr": 1e-3,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "schedule": {"kind": "constant", "warmup": 0.0},
}


@pytest.mark.parametrize(
    ("raw", "complete"),
    [
        ({}, ADAM),
        ({"optimizer": "adamw"}, {**ADAM, "optimizer": "adamw", "weight_decay": 0.01}),
        ({"optimizer": "sgd"}, SGD),
        ({"beta2": 0.9, "amsgrad": True}, {**ADAM, "betas": [0.9, 0.9], "amsgrad": True}),
        ({"betas": (0.5, 0)}, {**ADAM, "betas": [0.5, 0.0]}),
        ({"lr": 1, "clip_norm": None, "no_decay": []}, {**ADAM, "lr": 1.0}),
        (
            {"schedule": "cosine"},
            {**ADAM, "schedule": {"kind": "cosine", "warmup": 0.0, "final": 0.0}},
        ),
        (
            {"schedule": {"kind": "constant", "warmup": {"steps": 7}}},
            {**ADAM, "schedule": {"kind": "constant", "warmup": {"steps": 7}}},
        ),
    ],
)
def test_complete_form(raw: dict[str, Any], complete: dict[str, Any]) -> None:
    found = parse(raw).to_dict()
    assert found == complete
    assert list(found) == list(complete)  # one order, so that two of them read alike
    numbers = [value for value in found.values() if not isinstance(value, str | list | dict)]
    assert all(isinstance(value, float | bool) for value in numbers)


def test_rule() -> None:
    assert [parse({"optimizer": name}).rule for name in ("adam", "adamw", "sgd")] == [
        "adam",
        "adam",
        "sgd",
    ]


def values_of(kind: Real | Flag) -> st.SearchStrategy[Any]:
    if isinstance(kind, Flag):
        return st.booleans()
    return st.floats(kind.low, kind.high, exclude_min=kind.low_open, exclude_max=kind.high_open)


def some_of(known: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    strategies = {}
    for key, kind in known.items():
        steps = st.builds(lambda n: {"steps": n}, st.integers(0, 10**9))
        strategies[key] = values_of(kind) | steps if key in LENGTHS else values_of(kind)
    return st.fixed_dictionaries({}, optional=strategies)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(OPTIMIZERS)))
    kind = draw(st.sampled_from(sorted(SCHEDULES)))
    raw = {"optimizer": name, **draw(some_of(dict(OPTIMIZERS[name].hyperparameters)))}
    return {**raw, "schedule": {"kind": kind, **draw(some_of(dict(SCHEDULES[kind])))}}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(configurations())
def test_parse_reads_back_what_to_dict_writes(raw: dict[str, Any]) -> None:
    parsed = parse(raw)
    complete = parsed.to_dict()
    assert parse(complete) == parsed
    assert parse(complete).to_dict() == complete
    given_values = {key: value for key, value in raw.items() if key in parsed.values}
    assert {key: parsed.values[key] for key in given_values} == given_values
    kept = complete["schedule"]
    assert {key: kept[key] for key in raw["schedule"]} == raw["schedule"]


REFUSED = [
    ([], "is not a configuration", "", ""),
    ({1: 2}, "the key 1 is not text", "", ""),
    ({"optimizer": "adm"}, "unknown optimizer 'adm'", "optimizer", "'adam'"),
    ({"optimizer": None}, "unknown optimizer None", "optimizer", ""),
    ({"optimizer": ["adam"]}, "unknown optimizer ['adam']", "optimizer", ""),
    ({"lrr": 1.0}, "adam has no hyperparameter 'lrr'", "", "'lr'"),
    ({"optimizer": "sgd", "eps": 1e-8}, "sgd has no hyperparameter 'eps'", "", ""),
    ({"optimizer": "sgd", "betas": [0.9, 0.9]}, "sgd has no hyperparameter 'betas'", "", ""),
    ({"momentum": 0.9}, "adam has no hyperparameter 'momentum'", "", ""),
    ({"lr": "1e-3"}, "'1e-3' is not a number", "lr", ""),
    ({"lr": True}, "True is not a number", "lr", ""),
    ({"lr": None}, "None is not a number", "lr", ""),
    ({"lr": {"steps": 3}}, "{'steps': 3} is not a number", "lr", ""),
    ({"lr": 0}, "0 is out of range", "lr", ""),
    ({"lr": 1e7}, "10000000.0 is out of range", "lr", ""),
    ({"lr": math.nan}, "nan is out of range", "lr", ""),
    ({"lr": math.inf}, "inf is out of range", "lr", ""),
    ({"lr": 10**400}, "is out of range", "lr", ""),
    ({"eps": -1e-8}, "-1e-08 is out of range", "eps", ""),
    ({"beta1": 1.0}, "1.0 is out of range", "beta1", ""),
    ({"weight_decay": -1}, "-1 is out of range", "weight_decay", ""),
    ({"amsgrad": 1}, "1 is not a flag", "amsgrad", ""),
    ({"betas": 0.9}, "0.9 is not a pair", "betas", ""),
    ({"betas": [0.9]}, "[0.9] is not a pair", "betas", ""),
    ({"betas": [0.9, 1.0]}, "1.0 is out of range", "beta2", ""),
    ({"betas": [0.9, 0.9], "beta2": 0.9}, "both betas and beta2 are given", "", "Leave one"),
    ({"clip_norm": 1.0}, "clip_norm is not available", "clip_norm", ""),
    ({"clip_norm": 0}, "clip_norm is not available", "clip_norm", ""),
    ({"no_decay": ["bias"]}, "no_decay is not available", "no_decay", ""),
    ({"schedule": "cosin"}, "unknown schedule 'cosin'", "schedule", "'cosine'"),
    ({"schedule": None}, "None is not a schedule", "schedule", ""),
    ({"schedule": {"warmup": 0.1}}, "is not a schedule", "schedule", ""),
    ({"schedule": {"kind": 3}}, "unknown schedule 3", "schedule", ""),
    (
        {"schedule": {"kind": "cosine", "warmpu": 1}},
        "schedule 'cosine' has no parameter 'warmpu'",
        "schedule",
        "'warmup'",
    ),
    (
        {"schedule": {"kind": "constant", "final": 1}},
        "schedule 'constant' has no parameter 'final'",
        "schedule",
        "",
    ),
    (
        {"schedule": {"kind": "constant", "warmup": 1.5}},
        "1.5 is out of range",
        "schedule.warmup",
        "",
    ),
    (
        {"schedule": {"kind": "constant", "warmup": {"steps": 1.5}}},
        "{'steps': 1.5} is not a length",
        "schedule.warmup",
        "",
    ),
    (
        {"schedule": {"kind": "constant", "warmup": {"step": 1}}},
        "{'step': 1} is not a length",
        "schedule.warmup",
        "",
    ),
    (
        {"schedule": {"kind": "constant", "warmup": {"steps": -1}}},
        "-1 steps",
        "schedule.warmup",
        "",
    ),
    (
        {"schedule": {"kind": "cosine", "final": {"steps": 1}}},
        "{'steps': 1} is not a number",
        "schedule.final",
        "",
    ),
]


@pytest.mark.parametrize(("raw", "what", "where", "cure"), REFUSED)
@pytest.mark.parametrize("outer", ["", "baseline[1]"])
def test_refused(raw: object, what: str, where: str, cure: str, outer: str) -> None:
    with pytest.raises(SweepError) as caught:
        parse(raw, outer)
    assert what in caught.value.what
    assert caught.value.where == ".".join(part for part in (outer, where) if part)
    assert cure in caught.value.cure


def test_the_allowed_interval_is_said() -> None:
    with pytest.raises(SweepError) as caught:
        parse({"beta2": 1})
    assert str(caught.value) == "beta2: 1 is out of range; allowed: a number in [0, 1)"


def test_all_keys_are_listed_for_an_unknown_one() -> None:
    with pytest.raises(SweepError) as caught:
        parse({"optimizer": "sgd", "nesterov": True})
    assert caught.value.allowed == "lr, momentum, schedule, weight_decay"


@pytest.mark.parametrize(
    ("warmup", "steps"), [(0.0, 0), (0.25, 25), (1.0, 100), ({"steps": 100}, 100)]
)
def test_warmup_up_to_the_horizon(warmup: object, steps: int) -> None:
    parsed = parse({"schedule": {"kind": "cosine", "warmup": warmup}})
    check_horizon(parsed, 100)
    assert parsed.schedule.warmup_steps(100) == steps


def test_a_warmup_longer_than_the_horizon_is_refused() -> None:
    parsed = parse({"schedule": {"kind": "cosine", "warmup": {"steps": 101}}})
    with pytest.raises(SweepError) as caught:
        check_horizon(parsed, 100, "baseline[0].schedule")
    assert str(caught.value) == (
        "baseline[0].schedule.warmup: a warm-up of 101 steps is longer than the horizon; "
        "allowed: at most 100 steps"
    )


def test_a_schedule_by_its_parameters() -> None:
    raw = {"schedule": {"kind": "cosine", "warmup": {"steps": 3}, "final": 0.5}}
    assert parse(raw).schedule == Schedule("cosine", 3, 0.5)
