"""Batch size and arguments of the task as settings of a configuration."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from sweeper.errors import SweepError
from sweeper.optim import make_optimizer
from sweeper.optim.configuration import Program, flatten, parse

FULL: dict[str, Any] = {
    "optimizer": "adam",
    "lr": 1e-3,
    "batch_size": 16,
    "task_args": {"hidden": 32, "sizes": [1, 2]},
}


def test_a_configuration_with_a_variant_comes_back() -> None:
    found = parse(FULL)
    written = found.to_dict()
    assert written["batch_size"] == 16
    assert written["task_args"] == {"hidden": 32, "sizes": [1, 2]}
    assert parse(written) == found
    flat = flatten(written)
    assert flat["batch_size"] == 16 and flat["task_args.hidden"] == 32


def test_what_is_not_set_is_not_written_and_changes_no_program() -> None:
    plain = parse({"lr": 1e-3})
    assert not {"batch_size", "task_args"} & plain.to_dict().keys()
    assert plain.program == Program("adam")
    assert parse({"lr": 1e-3, "task_args": {}}).program == plain.program


def test_programs_differ_by_batch_size_and_arguments_whatever_their_order() -> None:
    def program(**changes: Any) -> Program:
        return parse({"lr": 1e-3, **changes}).program

    ways = [
        program(),
        program(batch_size=16),
        program(batch_size=32),
        program(task_args={"a": 1, "b": 2}),
        program(task_args={"a": True, "b": 2}),
        program(task_args={"a": 1.0, "b": 2}),
    ]
    assert len(set(ways)) == len(ways)
    assert program(task_args={"b": 2, "a": 1}) == program(task_args={"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "at.batch_size: 0 is not a batch size; allowed: an int >= 1"),
        ({"batch_size": 2.0}, "at.batch_size: 2.0 is not a batch size"),
        ({"batch_size": True}, "at.batch_size: True is not a batch size"),
        ({"batch_size": None}, "at.batch_size: None is not a batch size"),
        ({"task_args": 3}, "at.task_args: 3; allowed: a mapping of arguments"),
        ({"task_args": {1: 2}}, "at.task_args: the key 1 is not text"),
        ({"task_args": {"a": math.nan}}, "at.task_args.a: nan is not a plain value"),
        ({"task_args": {"a": [{"b": 1j}]}}, r"at.task_args.a\[0\].b: 1j is not a plain value"),
        ({"batchsize": 3}, "at: adam has no hyperparameter 'batchsize'; .*'batch_size'"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        parse({"lr": 1e-3, **changes}, "at")


def test_an_own_loop_takes_such_a_configuration() -> None:
    optimizer, _ = make_optimizer(torch.nn.Linear(2, 1), FULL, total_steps=3)
    assert optimizer.param_groups[0]["lr"] == 1e-3
