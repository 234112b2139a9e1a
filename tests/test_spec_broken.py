"""Whatever is in a spec: it ends in a SweepError, or in a spec that works."""

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper import spec_file
from sweeper.errors import SweepError
from sweeper.optim.configuration import parse
from sweeper.space import Range
from sweeper.spec import check, load

GOOD: dict[str, Any] = {
    "name": "mine",
    "task": "perceptron",
    "task_args": {"points": 64},
    "horizon": 1000,
    "seeds": [3, 1],
    "dtype": "float64",
    "baseline": [{"optimizer": "adam", "lr": 1e-3}, {"optimizer": "sgd", "momentum": 0.9}],
    "space": {
        "optimizer": {
            "choice": {
                "adamw": {
                    "eps": {"log_uniform": [1e-10, 1e-2]},
                    "beta2": {"one_minus_log_uniform": [1e-4, 0.2]},
                    "amsgrad": {"choice": [False, True]},
                },
                "sgd": {"momentum": {"uniform": [0.0, 0.98]}},
            }
        },
        "lr": {"log_uniform": [1e-4, 1.0]},
        "schedule": {"choice": {"constant": {}, "cosine": {"warmup": {"steps": 9}, "final": 0}}},
    },
    "search": {"sampler": "tpe", "seed": 0},
    "budget": {"trials": 64, "time": "2h", "run_steps": 1000000},
    "prune": "none",
    "objective": "robust_loss",
    "stability": {"climb": 3, "give_back": 0.2, "tail": 0.2, "cvar": 0.4},
    "stress": {"top": 8, "seeds": 5, "horizon": "4x", "neighbours": 3, "budget": 0.5},
    "lanes": {"count": "auto", "gpus": 0.5, "slots": 4},
    "tracking": {"uri": "sqlite", "later": True, "children": 10},
    "storage": "./sweeps",
    "study_url": None,
}
WORDS = [
    *("", "auto", "adam", "sgd", "cosine", "4x", "90s", "-1h", "nan", "1e-3", "a/b", "..", "~"),
    *("log_uniform", "uniform", "choice", "steps", "kind", "lr", "betas", "int", "a[b", "\0"),
]
NUMBERS = [0, 1, -1, 2, 0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), -float("inf")]
HUGE = [2**31, 2**63, 10**30, -(10**400)]
scalars = (
    st.sampled_from([None, True, False, *WORDS, *NUMBERS, *HUGE])
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
)
keys = st.sampled_from(WORDS) | st.text(max_size=5) | st.sampled_from([None, True, 1, 1.5, (1, 2)])
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=3)
        | st.fixed_dictionaries({"choice": st.lists(inner, max_size=3)})
        | st.fixed_dictionaries({"uniform": st.tuples(inner, inner)})
    ),
    max_leaves=6,
)


def paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested values, the outermost first."""
    found = [path]
    if isinstance(value, dict):
        found += [inner for key in value for inner in paths(value[key], (*path, key))]
    elif isinstance(value, list):
        found += [inner for i in range(len(value)) for inner in paths(value[i], (*path, i))]
    return found


PATHS = paths(GOOD)[1:]
mutations = st.lists(
    st.tuples(
        st.sampled_from(PATHS),
        st.sampled_from(["replace", "remove", "add", "copy"]),
        keys,
        values,
        st.sampled_from(PATHS),
    ),
    min_size=1,
    max_size=3,
)


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def mutated(changes: list[tuple[tuple[Any, ...], str, Any, Any, tuple[Any, ...]]]) -> Any:
    """The good spec with some of its values replaced, removed, added or put elsewhere."""
    raw = copy.deepcopy(GOOD)
    for path, kind, key, value, other in changes:
        try:
            parent = at(raw, path[:-1])
            if kind == "remove":
                del parent[path[-1]]
            elif kind == "add":
                parent[path[-1]][key] = value
            else:
                parent[path[-1]] = value if kind == "replace" else copy.deepcopy(at(raw, other))
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return raw


def ends_well(raw: Any) -> bool:
    """Whether the spec is valid, and then everything that is read off it works."""
    try:
        found = check(raw)
    except SweepError as error:
        assert str(error).startswith("spec")
        str(error).encode()  # it can be printed
        return False
    drawn = found.parsed_space.configuration(
        lambda p: p.low if isinstance(p, Range) else p.labels[0]
    )
    assert parse(drawn).to_dict()
    assert all(one["optimizer"] for one in found.baselines)
    assert len(set(found.seed_list)) == len(found.seed_list) >= 1
    dumped = found.model_dump(mode="json")
    assert set(found.meaning()) < set(dumped)
    assert check(json.loads(json.dumps(dumped))).meaning() == found.meaning()
    return True


def test_the_good_one_is_good() -> None:
    assert ends_well(GOOD)
    assert len(PATHS) > 60


def test_broken_values() -> None:
    ends = Counter[bool]()

    @settings(max_examples=3000, deadline=None, derandomize=True, database=None)
    @given(mutations)
    def try_out(changes: list[Any]) -> None:
        ends[ends_well(mutated(changes))] += 1

    try_out()
    assert ends[True] > 100
    assert ends[False] > 1000


PIECES = [
    *("name: mine\n", "horizon: 100\n", "space: {lr: 1e-3}\n", "task: x\n", "  - ", "  ", "\n"),
    *("a: &x ", "*x", "<<: ", "!!python/object:a.b ", "!!int ", "!x ", "? ", ": ", "[", "]", "{"),
    *("}", "'", '"', "|", ">-", "--- ", "...", "%YAML 1.1\n", "0x", "1e-3", ".nan", "2001-01-01"),
    *("\t", "#", ",", "\\ud800", "!!set {a}", "!!omap [a: 1]", "!!binary aGk=", "null", "@"),
]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=12).map("".join)


@settings(max_examples=1500, deadline=None, derandomize=True, database=None)
@given(texts, st.booleans())
def test_broken_text(text: str, whole: bool) -> None:
    start = "name: mine\ntask: x\nhorizon: 100\nspace: {lr: 1e-3}\n" if whole else ""
    try:
        raw, lines = spec_file.parse_text(start + text)
    except SweepError as error:
        str(error).encode()
        return
    assert all(1 <= line <= text.count("\n") + 6 for line in lines.values())
    ends_well(raw)


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(st.lists(st.builds("{}={}".format, st.sampled_from(WORDS), texts), max_size=3))
def test_broken_settings(given_settings: list[str]) -> None:
    try:
        raw = spec_file.apply_settings(copy.deepcopy(GOOD), given_settings)
    except SweepError as error:
        str(error).encode()
        return
    ends_well(raw)


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=30))
def test_broken_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(content)
    with pytest.raises(SweepError):
        load(path)
