"""What only a task knows of a sweep: filled in at launch, and checked before anything starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import SweepError
from sweeper.horizon import Horizon
from sweeper.runtime import plan
from sweeper.runtime.variants import resolve
from sweeper.spec import SweepSpec, check

RAW: dict[str, Any] = {
    "name": "a",
    "task": "digits",
    "horizon": {"epochs": 20},
    "baseline": {"lr": 1e-3},
    "space": {"lr": {"log_uniform": [1e-4, 1e-1]}, "batch_size": {"choice": [8, 256]}},
}
LR = {"lr": {"log_uniform": [1e-4, 1e-1]}}


def resolved(**changes: Any) -> SweepSpec:
    found = resolve(check({**RAW, **changes}))
    plan.check_task(found)
    return found


def test_a_launch_fills_in_what_the_task_has_once_and_for_all() -> None:
    spec = resolved()
    assert spec.horizon == Horizon(epochs=20.0, dataset=1437, batch_size=64)
    assert spec.baselines[0]["batch_size"] == 64
    assert resolve(spec) == spec
    assert resolve(check(RAW)).meaning() == spec.meaning()
    assert resolve(check(RAW)).meaning() != resolved(horizon={"epochs": 21}).meaning()


def test_nothing_changes_where_no_batch_size_is_given() -> None:
    spec = check({**RAW, "horizon": 100, "space": LR})
    assert resolve(spec) is spec
    assert resolved(space=LR).batch_size is None
    assert resolved(task="perceptron", space=LR).lengths == [20]


def test_sizes_and_settings_of_lanes_follow() -> None:
    spec = resolved()
    assert plan.size(spec).run_steps == round(128 * (100 + 440 + 3580) / 3)
    settings = plan.lane_settings(spec, 4, plan.Machine())
    assert settings.programs == 2
    assert settings.stress_horizon == {8: 14320, 64: 1760, 256: 400}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"space": {"batch_size": {"choice": [16, 5000]}}},
            "space.batch_size: a batch of 5000; allowed: 1 to 1437 samples, .*",
        ),
        ({"baseline": {"batch_size": 4000}}, "baseline.batch_size: a batch of 4000; .*"),
        ({"batch_size": 9999, "space": LR}, "batch_size: a batch of 9999; .*"),
        (
            {"space": {"task_args": {"hidden": {"choice": [32, 0]}}}},
            "space.task_args.hidden: 0; allowed: an int from 1 to 65536",
        ),
        (
            {"baseline": [{"lr": 1e-3, "task_args": {"hiden": 3}}]},
            r"baseline\[0\].task_args: task 'digits' has no argument 'hiden'; .*'hidden'.*",
        ),
        ({"task_args": {"hidden": 0}}, "task_args.hidden: 0; .*"),
        (
            {"space": {"task_args": {"batch_size": {"choice": [32, 64]}}}},
            "space.task_args: the arguments of the task lead to different batch sizes: .*",
        ),
        (
            {"horizon": {"epochs": 2, "dataset": 5}},
            "horizon.dataset: 5, and the task has 1437. Leave it out.",
        ),
    ],
)
def test_bad_inputs_have_one_message_with_the_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError, match=f"^{message}$"):
        resolved(**changes)


def test_what_a_factory_raises_is_said_with_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_task.py").write_text(
        "from sweeper.tasks.bundled.digits import build\n"
        "def make(width):\n"
        "    assert width % 2 == 0, 'an even width'\n"
        "    return build(hidden=width)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    task = {"task": "odd_task:make", "baseline": []}
    try:
        with pytest.raises(
            SweepError, match=r"^space.task_args: odd_task:make fails for .*'width': 3"
        ):
            resolved(**task, space={**LR, "task_args": {"width": {"choice": [2, 3]}}})
        with pytest.raises(SweepError, match=r"task_args: .* needs the argument 'width'"):
            resolved(**task, space=LR)
        found = resolved(**task, space={**LR, "task_args": {"width": {"choice": [2, 4]}}})
        assert found.lengths == [440]
    finally:
        sys.modules.pop("odd_task", None)
