"""Configurations: complete and canonical, read back as they were, and what is refused."""

import math
from typing import Any

import pytest

from sweeper.errors import SweepError
from sweeper.optim.catalog import OPTIMIZERS
from sweeper.optim.configuration import check_horizon, parse
from sweeper.optim.hyperparameters import Flag, Kind, Length, Lengths, Real, Switch, Word
from sweeper.optim.schedule_catalog import SCHEDULES

pytest.importorskip("hypothesis")  # a bare GPU machine has torch, numpy and pytest

from hypothesis import given, settings
from hypothesis import strategies as st

ADAM = {
    "optimizer": "adam",
    "lr": 1e-3,
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "weight_decay": 0.0,
    "amsgrad": False,
    "eps_hat": False,
    "schedule": {"kind": "constant", "warmup": 0.0},
}
SGD = {
    "optimizer": "sgd",
    "lr": 1e-3,
    "momentum": 0.0,
    "dampening": 0.0,
    "nesterov": False,
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
            {"no_decay": ["norm", "bias", "bias"], "clip_value": 2},
            {
                **{key: value for key, value in ADAM.items() if key != "schedule"},
                "clip_value": 2.0,
                "no_decay": ["bias", "norm"],
                "schedule": ADAM["schedule"],
            },
        ),
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


def values_of(kind: Kind) -> st.SearchStrategy[Any]:
    length = st.floats(0, 1) | st.builds(lambda n: {"steps": n}, st.integers(1, 10**9))
    if isinstance(kind, Flag):
        return st.booleans()
    if isinstance(kind, Switch):
        return st.just(False)
    if isinstance(kind, Word):
        return st.sampled_from(kind.words)
    if isinstance(kind, Length):
        return length
    if isinstance(kind, Lengths):
        return st.lists(length, min_size=1, max_size=kind.most)
    assert isinstance(kind, Real)
    return st.floats(kind.low, kind.high, exclude_min=kind.low_open, exclude_max=kind.high_open)


def some_of(known: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    # Some values exclude each other: nesterov, three_phase and the ends of a cycle.
    free = {k: v for k, v in known.items() if k not in ("nesterov", "three_phase")}
    free = {k: v for k, v in free.items() if not k.endswith("_momentum") or k == "cycle_momentum"}
    return st.fixed_dictionaries({}, optional={key: values_of(kind) for key, kind in free.items()})


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(OPTIMIZERS)))
    kind = draw(st.sampled_from(sorted(SCHEDULES)))
    clipping = {draw(st.sampled_from(["clip_norm", "clip_value"])): draw(st.floats(0.1, 10.0))}
    no_decay = draw(st.lists(st.sampled_from(["bias", "norm", "head.*"]), unique=True))
    raw = {"optimizer": name, **draw(some_of(dict(OPTIMIZERS[name].hyperparameters)))}
    raw |= {**draw(st.sampled_from([{}, clipping])), "no_decay": no_decay}
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
    ({"clip_norm": 0}, "0 is out of range", "clip_norm", ""),
    ({"clip_norm": "1"}, "'1' is not a number", "clip_norm", ""),
    ({"clip_norm": 1.0, "clip_value": 1.0}, "both clip_norm and clip_value are", "", "Leave one"),
    ({"no_decay": "bias"}, "'bias'", "no_decay", ""),
    ({"no_decay": [1]}, "[1]", "no_decay", ""),
    ({"optimizer": "adai", "betas": [0.1, 1.0]}, "1.0 is out of range", "beta2", ""),
    ({"optimizer": "sgd", "nesterov": True}, "nesterov with momentum 0", "nesterov", ""),
    (
        {"optimizer": "sgd", "momentum": 0.9, "dampening": 0.1, "nesterov": True},
        "nesterov with momentum 0.9 and dampening 0.1",
        "nesterov",
        "",
    ),
    (
        {"optimizer": "adagrad", "schedule": {"kind": "onecycle", "cycle_momentum": True}},
        "adagrad has no momentum that a schedule could cycle",
        "schedule.cycle_momentum",
        "",
    ),
    (
        {"schedule": {"kind": "onecycle", "pct_start": 0.5, "three_phase": True}},
        "0.5 leaves nothing for the last phase",
        "schedule.pct_start",
        "",
    ),
    (
        {"schedule": {"kind": "cyclical", "base_momentum": 0.95}},
        "base_momentum 0.95 is above max_momentum 0.9",
        "schedule",
        "",
    ),
    ({"schedule": {"kind": "wsd", "decay_shape": "sqrt"}}, "'sqrt'", "schedule.decay_shape", ""),
    ({"schedule": {"kind": "multistep", "milestones": []}}, "[]", "schedule.milestones", ""),
    (
        {"schedule": {"kind": "multistep", "milestones": [0.5, 2]}},
        "2 is out of range",
        "schedule.milestones[1]",
        "",
    ),
    ({"schedule": {"kind": "sgdr", "T_0": {"steps": 0}}}, "0 steps", "schedule.T_0", ""),
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
        parse({"optimizer": "sgd", "nesterow": True})
    keys = "batch_size, clip_norm, clip_value, dampening, lr, momentum, nesterov, no_decay, "
    assert caught.value.allowed == f"{keys}schedule, task_args, weight_decay"


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
        "baseline[0].schedule.warmup: warmup of 101 steps is longer than the horizon; "
        "allowed: at most 100 steps"
    )


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ({"kind": "step", "step_size": {"steps": 101}}, "step_size of 101 steps"),
        ({"kind": "multistep", "milestones": [0.5, {"steps": 101}]}, "milestones of 101 steps"),
        ({"kind": "sgdr", "T_0": {"steps": 101}}, "T_0 of 101 steps"),
        ({"kind": "wsd", "warmup": 0.6, "decay": 0.5}, "warmup and decay of 110 steps"),
    ],
)
def test_a_schedule_longer_than_the_horizon_is_refused(
    schedule: dict[str, Any], says: str
) -> None:
    with pytest.raises(SweepError, match=f"{says} is longer than the horizon"):
        check_horizon(parse({"schedule": schedule}), 100)


def test_a_schedule_by_its_parameters() -> None:
    raw = {"schedule": {"kind": "cosine", "warmup": {"steps": 3}, "final": 0.5}}
    found = parse(raw).schedule
    assert (found.kind, found.values) == ("cosine", {"warmup": 3, "final": 0.5})


def test_momentum_is_cycled_where_there_is_one() -> None:
    def cycles(optimizer: str) -> object:
        parsed = parse({"optimizer": optimizer, "schedule": "onecycle"})
        return parsed.schedule.values["cycle_momentum"]

    assert {name: cycles(name) for name in OPTIMIZERS} == {
        name: name not in ("adagrad", "adai", "adaiw") for name in OPTIMIZERS
    }
