"""In which order a lane is given runs of several programs, and how many trials are open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stub_lane import Home, finish_all, spec_with

from sweeper.study.programs import count_programs, open_factor, queues
from sweeper.study.trials import open_trials_limit

SIZES = {"lr": {"log_uniform": [1e-5, 1e-1]}, "batch_size": {"choice": [8, 16, 32]}}


def spec_of(**changes: Any) -> Any:
    return spec_with(**{"space": SIZES, "baseline": [], "seeds": 1, **changes})


def test_programs_are_counted_over_all_combinations() -> None:
    assert count_programs(spec_with()) == 1
    assert count_programs(spec_of()) == 3
    space = {
        **SIZES,
        "optimizer": {"choice": ["adam", "adamw", "sgd"]},
        "task_args": {"hidden": {"choice": [1, 2]}},
    }
    assert count_programs(spec_of(space=space)) == 3 * 2 * 2  # adam and adamw are one


@pytest.mark.parametrize(("programs", "factor"), [(1, 1.0), (2, 1.5), (3, 2.0), (6, 2.0)])
def test_more_trials_are_open_for_several_programs(programs: int, factor: float) -> None:
    assert open_factor(programs) == factor <= max(1.0, queues(programs))
    sizes = list(range(1, programs + 1))
    spec = spec_of(
        space={**SIZES, "batch_size": {"choice": sizes}},
        search={"sampler": "tpe"},
        budget={"trials": 64},
    )
    assert open_trials_limit(spec) == int(8 * factor)
    assert open_trials_limit(spec_of()) is None


def test_a_lane_gets_runs_of_the_program_that_it_has_and_none_is_left(tmp_path: Path) -> None:
    home = Home(tmp_path, spec_of(budget={"trials": 24}))
    study, first, second = home.study(), home.lane("a"), home.lane("b", 1)
    first.sync(study, room=24)
    size = {row.run.id: row.run.config["batch_size"] for row in home.database().runs()}
    assert set(size.values()) == {8, 16, 32}
    order = list(first.held)
    groups = [size[run] for run in order]
    # By program, that of the oldest run first, and by id within it.
    assert groups == [one for one in dict.fromkeys(groups) for _ in range(groups.count(one))]
    assert groups[0] == size[0]
    for one in set(groups):
        mine = [run for run in order if size[run] == one]
        assert mine == sorted(mine)
    first.sync(study, leaving=True)
    wanted = next(run for run in order if size[run] == groups[-1])
    second.held = {wanted: 0}
    second.sync(study, room=3)
    assert {size[run] for run in second.held} == {groups[-1]}
    third = home.lane("c", 2)
    second.sync(study, leaving=True)
    finish_all(study, third)
    assert all(row.result is not None for row in home.database().runs())
