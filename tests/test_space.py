"""The grammar of the search space: what is drawn under which name, and what is refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.errors import SweepError
from sweeper.optim.configuration import parse
from sweeper.space import Choice, Parameter, Range, Space, corners
from sweeper.space_parser import parse_space

EVERYTHING = {
    "optimizer": {
        "choice": {
            "adamw": {
                "eps": {"log_uniform": [1e-10, 1e-2]},
                "beta2": {"one_minus_log_uniform": [1e-4, 0.2]},
                "amsgrad": {"choice": [False, True]},
            },
            "sgd": {"momentum": {"uniform": [0, 0.98]}, "weight_decay": 0.1},
        }
    },
    "lr": {"log_uniform": [1e-4, 1]},
    "schedule": {
        "choice": {
            "constant": None,
            "cosine": {"warmup": {"uniform": [0.0, 0.1]}, "final": 0.5},
        }
    },
}


def names(space: Space) -> list[str]:
    return [parameter.name for parameter in space.flat()]


def draw_with(drawn: dict[str, Any], space: Space) -> dict[str, Any]:
    """The configuration for draws by name, every one of which must be asked for."""
    left = dict(drawn)
    found = space.configuration(lambda parameter: left.pop(parameter.name))
    assert not left
    return found


def test_names_say_the_branch() -> None:
    assert names(parse_space(EVERYTHING)) == [
        "optimizer",
        "optimizer.adamw.eps",
        "optimizer.adamw.beta2",
        "optimizer.adamw.amsgrad",
        "optimizer.sgd.momentum",
        "lr",
        "schedule",
        "schedule.cosine.warmup",
    ]


def test_only_the_chosen_branch_is_drawn() -> None:
    drawn = {
        "optimizer": "sgd",
        "optimizer.sgd.momentum": 0.9,
        "lr": 0.1,
        "schedule": "cosine",
        "schedule.cosine.warmup": 0.05,
    }
    assert draw_with(drawn, parse_space(EVERYTHING)) == {
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 0.1,
        "lr": 0.1,
        "schedule": {"kind": "cosine", "warmup": 0.05, "final": 0.5},
    }


def test_one_minus_log_uniform_draws_the_rest() -> None:
    space = parse_space({"beta2": {"one_minus_log_uniform": [1e-4, 0.2]}})
    assert list(space.flat()) == [Range("beta2", "one_minus_log_uniform", 1e-4, 0.2)]
    assert draw_with({"beta2": 0.125}, space) == {"beta2": 0.875}
    (parameter,) = space.flat()
    assert isinstance(parameter, Range)
    assert parameter.ends() == (0.9999, 0.8)


@pytest.mark.parametrize(
    ("word", "is_log"),
    [("uniform", False), ("log_uniform", True), ("one_minus_log_uniform", True)],
)
def test_ranges(word: str, is_log: bool) -> None:
    (parameter,) = parse_space({"beta1": {word: [0.25, 0.75]}}).flat()
    assert parameter == Range("beta1", word, 0.25, 0.75)
    assert isinstance(parameter, Range)
    assert parameter.is_log == is_log
    assert parameter.ends() == ((0.75, 0.25) if word.startswith("one") else (0.25, 0.75))


@pytest.mark.parametrize(
    ("raw", "drawn", "values"),
    [
        ({"lr": 0.1}, {}, {"lr": 0.1}),
        ({"betas": [0.8, 0.9]}, {}, {"betas": [0.8, 0.9]}),
        ({"optimizer": "sgd", "momentum": 0.9}, {}, {"optimizer": "sgd", "momentum": 0.9}),
        ({"eps": {"choice": [1e-8, 1e-4]}}, {"eps": 1e-4}, {"eps": 1e-4}),
        (
            {"betas": {"choice": [[0.9, 0.99], [0.8, 0.9]]}},
            {"betas": "[0.8, 0.9]"},
            {"betas": [0.8, 0.9]},
        ),
        (
            {"optimizer": {"choice": ["adam", "adamw"]}},
            {"optimizer": "adamw"},
            {"optimizer": "adamw"},
        ),
        (
            {"schedule": {"choice": ["constant", {"kind": "cosine", "final": 0.1}]}},
            {"schedule": '{"kind": "cosine", "final": 0.1}'},
            {"schedule": {"kind": "cosine", "final": 0.1}},
        ),
        (
            {"schedule": {"kind": "cosine", "final": {"uniform": [0.0, 1.0]}}},
            {"schedule.cosine.final": 0.3},
            {"schedule": {"kind": "cosine", "final": 0.3}},
        ),
        (
            {"schedule": {"kind": "constant", "warmup": {"steps": 10}}},
            {},
            {"schedule": {"kind": "constant", "warmup": {"steps": 10}}},
        ),
        (
            {"schedule": {"kind": "constant", "warmup": {"choice": [0.1, {"steps": 9}]}}},
            {"schedule.constant.warmup": '{"steps": 9}'},
            {"schedule": {"kind": "constant", "warmup": {"steps": 9}}},
        ),
        (
            {"optimizer": {"choice": {"sgd": {"schedule": {"choice": {"cosine": {}}}}}}},
            {"optimizer": "sgd", "optimizer.sgd.schedule": "cosine"},
            {"optimizer": "sgd", "schedule": {"kind": "cosine"}},
        ),
    ],
)
def test_grammar(raw: dict[str, Any], drawn: dict[str, Any], values: dict[str, Any]) -> None:
    space = parse_space(raw)
    assert draw_with(drawn, space) == values
    assert {name for name in names(space) if name in drawn} == set(drawn)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_whatever_is_drawn_is_a_configuration(data: st.DataObject) -> None:
    def draw(parameter: Parameter) -> Any:
        if isinstance(parameter, Range):
            return data.draw(st.floats(parameter.low, parameter.high))
        return data.draw(st.sampled_from(parameter.labels))

    values = parse_space(EVERYTHING).configuration(draw)
    assert parse(values).optimizer == values["optimizer"]


def test_corners_have_every_end_and_option() -> None:
    found = list(corners(parse_space(EVERYTHING)))
    ends = [
        ("lr", [1e-4, 1.0]),
        ("eps", [1e-10, 1e-2]),
        ("beta2", [0.8, 1 - 1e-4]),
        ("amsgrad", [False, True]),
        ("momentum", [0.0, 0.98]),
    ]
    for key, values in ends:
        assert sorted({one[key] for one in found if key in one}) == values
    schedules = [one["schedule"] for one in found]
    assert {one.get("warmup") for one in schedules} == {None, 0.0, 0.1}


SUB = "space.optimizer.choice.sgd"
REFUSED = [
    (None, "None is not a space", "space", ""),
    ({}, "{} is not a space", "space", ""),
    ([1], "[1] is not a space", "space", ""),
    ({1: 2}, "1 is not a name", "space", ""),
    ({"learning_rate": 1}, "adam has no hyperparameter", "space", ""),
    ({"lrr": {"uniform": [0, 1]}}, "no hyperparameter 'lrr'", "space", "Did you mean 'lr'?"),
    ({"lr": {}}, "{} is neither a value nor a range", "space.lr", ""),
    ({"lr": {"log_unifrom": [1, 2]}}, "neither a value", "space.lr", "'log_uniform'"),
    ({"lr": {"uniform": [1, 2], "choice": [1]}}, "neither a value", "space.lr", ""),
    ({"lr": {"uniform": [1, 2], "step": 1}}, "neither a value", "space.lr", ""),
    ({"lr": {"uniform": 3}}, "3 is not a range", "space.lr.uniform", ""),
    ({"lr": {"uniform": [3]}}, "[3] is not a range", "space.lr.uniform", ""),
    ({"lr": {"uniform": [1, "2"]}}, "'2' is not a number", "space.lr.uniform", ""),
    ({"lr": {"uniform": [True, 2]}}, "True is not a number", "space.lr.uniform", ""),
    ({"lr": {"uniform": [1, 1]}}, "[1, 1] is empty", "space.lr.uniform", ""),
    ({"lr": {"uniform": [2, 1]}}, "[2, 1] is empty", "space.lr.uniform", ""),
    ({"lr": {"uniform": [float("nan"), 1]}}, "nan is out of range", "space.lr.uniform", ""),
    ({"lr": {"uniform": [0.1, float("inf")]}}, "inf is out of range", "space.lr.uniform", ""),
    ({"lr": {"uniform": [0.1, 10**400]}}, "is out of range", "space.lr.uniform", ""),
    ({"lr": {"log_uniform": [0, 1]}}, "low is 0", "space.lr.log_uniform", ""),
    ({"beta2": {"one_minus_log_uniform": [-1, 1]}}, "low is -1", None, ""),
    ({"lr": {"uniform": [0, 1]}}, "0.0 is out of range", "space.lr", ""),
    ({"lr": {"uniform": [0.1, 1e7]}}, "10000000.0 is out of range", "space.lr", ""),
    ({"beta2": {"one_minus_log_uniform": [1e-20, 0.1]}}, "1.0 is out of range", None, ""),
    ({"beta2": {"one_minus_log_uniform": [0.1, 1.5]}}, "-0.5 is out of range", None, ""),
    ({"lr": {"choice": []}}, "[] is not a choice", "space.lr.choice", ""),
    ({"lr": {"choice": 0.1}}, "0.1 is not a choice", "space.lr.choice", ""),
    ({"lr": {"choice": {"a": {}}}}, "is not a choice", "space.lr.choice", ""),
    ({"lr": {"choice": [0.1, 0.1]}}, "an option twice", "space.lr.choice", ""),
    ({"lr": {"choice": [1, 1.0]}}, "an option twice", "space.lr.choice", ""),
    ({"lr": {"choice": [0.1, 0.2, -1]}}, "-1 is out of range", "space.lr", ""),
    ({"amsgrad": {"choice": [False, 1]}}, "1 is not a flag", "space.amsgrad", ""),
    ({"amsgrad": {"uniform": [0, 1]}}, "0.0 is not a flag", "space.amsgrad", ""),
    ({"optimizer": "adm"}, "unknown optimizer 'adm'", "space.optimizer", "'adam'"),
    ({"optimizer": {"choice": ["adam", "adm"]}}, "unknown optimizer", None, "'adam'"),
    ({"optimizer": {"choice": ["adam", 3]}}, "unknown optimizer", None, ""),
    ({"optimizer": {"choice": {"adm": {}}}}, "unknown optimizer", None, "'adam'"),
    ({"optimizer": {"choice": {}}}, "{} is not a choice", "space.optimizer.choice", ""),
    ({"optimizer": {"choice": {"adam": 3}}}, "3 is not a sub-space", None, ""),
    ({"optimizer": {"adam": {}}}, "neither a value nor a range", "space.optimizer", ""),
    ({"optimizer": {"choice": ["adam", "sgd"]}, "eps": 1}, "sgd has no", "space", ""),
    ({"optimizer": {"choice": {"sgd": {"eps": 1}}}}, "sgd has no", SUB, ""),
    (
        {"optimizer": {"choice": {"adam": {}, "sgd": {"momentum": {"uniform": [-1, 0]}}}}},
        "-1.0 is out of range",
        f"{SUB}.momentum",
        "",
    ),
    (
        {"optimizer": {"choice": {"adam": {}, "sgd": {"momentum": {"uniform": [0, 1]}}}}},
        "1.0 is out of range",
        f"{SUB}.momentum",
        "",
    ),
    (
        {"lr": {"log_uniform": [1e-3, 1]}, "optimizer": {"choice": {"sgd": {"lr": 1}}}},
        "lr is given twice: also in optimizer 'sgd'",
        "space.lr",
        "Leave one of them out.",
    ),
    (
        {"optimizer": {"choice": {"adam": {"optimizer": "sgd"}}}},
        "optimizer 'adam' has a branch with another optimizer",
        "space.optimizer.choice.adam.optimizer",
        "",
    ),
    ({"betas": [0.9, 0.9], "beta1": {"uniform": [0, 0.5]}}, "both betas and beta1", None, ""),
    ({"optimizer": {"choice": ["adam", "sgd"]}, "betas": [0.9, 0.9]}, "sgd has no", None, ""),
    ({"clip_norm": {"uniform": [0, 1]}}, "0.0 is out of range", "space.clip_norm", ""),
    ({"schedule": "cosin"}, "unknown schedule", "space.schedule", "'cosine'"),
    ({"schedule": {"choice": {"cosin": {}}}}, "unknown schedule", None, "'cosine'"),
    ({"schedule": {"choice": ["constant", "cosin"]}}, "unknown schedule", None, "'cosine'"),
    ({"schedule": {"kind": {"choice": ["cosine"]}}}, "unknown schedule", None, ""),
    (
        {"schedule": {"choice": {"constant": {}, "cosine": {"final": {"uniform": [-1, 1]}}}}},
        "-1.0 is out of range",
        "space.schedule.choice.cosine.final",
        "",
    ),
    (
        {"schedule": {"choice": {"cosine": {"kind": "constant"}}}},
        "schedule 'cosine' has a branch with another kind",
        "space.schedule.choice.cosine.kind",
        "",
    ),
    (
        {"schedule": {"choice": {"constant": {"final": 0.1}}}},
        "schedule 'constant' has no parameter 'final'",
        "space.schedule.choice.constant",
        "",
    ),
]


@pytest.mark.parametrize(("raw", "what", "where", "cure"), REFUSED)
def test_refused(raw: Any, what: str, where: str | None, cure: str) -> None:
    with pytest.raises(SweepError) as caught:
        parse_space(raw)
    assert what in caught.value.what
    assert caught.value.where.startswith("space")
    assert where in (None, caught.value.where)
    assert cure in caught.value.cure


def test_labels_are_primitive_and_unique() -> None:
    (parameter,) = parse_space({"betas": {"choice": [[0.9, 0.99], [0.8, 0.9]]}}).flat()
    assert parameter == Choice("betas", ("[0.9, 0.99]", "[0.8, 0.9]"), ([0.9, 0.99], [0.8, 0.9]))
