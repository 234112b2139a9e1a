"""SweepError: its text, and that its parts survive processes."""

import copy
import pickle

import pytest

from sweeper.errors import SweepError, nearest, one_of, shown


class OtherError(SweepError):
    """A mistake of a special kind."""


FULL = {"where": "space.lr", "allowed": "low < high", "cure": "Swap them."}


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "empty"),
        ({"where": "a.yaml, line 3"}, "a.yaml, line 3: empty"),
        ({"allowed": "x, y"}, "empty; allowed: x, y"),
        ({"cure": "Type x."}, "empty. Type x."),
        (FULL, "space.lr: empty; allowed: low < high. Swap them."),
    ],
)
def test_text(parts: dict[str, str], text: str) -> None:
    assert str(SweepError("empty", **parts)) == text


@pytest.mark.parametrize("kind", [SweepError, OtherError])
@pytest.mark.parametrize("through", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_pickling_keeps_kind_and_parts(kind: type[SweepError], through) -> None:  # type: ignore[no-untyped-def]
    error = through(kind("empty", **FULL))
    assert type(error) is kind
    assert (error.what, error.where, error.allowed, error.cure) == ("empty", *FULL.values())
    assert str(error) == "space.lr: empty; allowed: low < high. Swap them."


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("horizn", "Did you mean 'horizon'?"),
        ("seed", "Did you mean 'seeds'?"),
        ("zzz", ""),
        ("", ""),
        (None, ""),
        (["seeds"], ""),
    ],
)
def test_nearest(word: object, hint: str) -> None:
    assert nearest(word, iter(["horizon", "seeds"])) == hint


def test_one_of_is_sorted() -> None:
    assert one_of({"sgd": 1, "adam": 2}) == "adam, sgd"


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "'a'"), (1e-3, "0.001"), ({"a": [1]}, "{'a': [1]}"), (None, "None")],
)
def test_shown_is_the_repr(value: object, text: str) -> None:
    assert shown(value) == text


def test_what_has_no_repr_is_shown_by_its_type() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert shown(nested) == "list too big to show"
    assert shown(10**5000) == "int too big to show"


def test_long_values_are_cut() -> None:
    assert shown("x" * 10_000) == "'" + "x" * 199 + "..."
