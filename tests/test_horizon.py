"""Horizons in epochs and samples: what they are in steps, and what a spec makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.errors import SweepError
from sweeper.horizon import Horizon
from sweeper.spec import SweepSpec, check

RAW: dict[str, Any] = {
    "name": "a",
    "task": "digits",
    "horizon": {"epochs": 20, "dataset": 1437, "batch_size": 64},
    "baseline": {"lr": 1e-3},
    "space": {"lr": {"log_uniform": [1e-4, 1e-1]}, "batch_size": {"choice": [8, 256]}},
}


def spec_with(**changes: Any) -> SweepSpec:
    return check({**RAW, **changes})


@pytest.mark.parametrize(
    ("horizon", "batch_size", "steps"),
    [
        (Horizon(epochs=20, dataset=1437), 8, 20 * 179),
        (Horizon(epochs=20, dataset=1437), 256, 20 * 5),  # the last 157 are dropped
        (Horizon(epochs=20, dataset=1437, batch_size=64), None, 20 * 22),
        (Horizon(epochs=20, dataset=1437), None, 20),  # the full batch
        (Horizon(epochs=0.1, dataset=30), 1, 3),
        (Horizon(epochs=0.01, dataset=10), 10, 1),
        (Horizon(samples=1000, dataset=1437), 64, 16),
        (Horizon(samples=1024, dataset=1437), 64, 16),
        (Horizon(samples=1437, dataset=1437), None, 1),
        (Horizon(samples=1438, dataset=1437), None, 2),
    ],
)
def test_steps(horizon: Horizon, batch_size: int | None, steps: int) -> None:
    assert horizon.steps(batch_size) == steps


def test_a_spec_knows_the_steps_of_every_run() -> None:
    spec = spec_with()
    assert spec.lengths == [100, 440, 3580]
    assert [spec.steps({"batch_size": size}) for size in (8, 256)] == [3580, 100]
    assert spec.stress_steps({"batch_size": 256}) == spec.probed_steps({"batch_size": 256}) == 400
    assert spec.horizon_text == "20 epochs, 100 to 3,580 steps"
    assert check(spec.model_dump(mode="json")) == spec
    assert spec_with(horizon=7).steps({"batch_size": 8}) == 7


def test_a_batch_size_of_the_sweep_is_that_of_every_setting_without_its_own() -> None:
    spec = spec_with(batch_size=32)
    assert spec.baselines[0]["batch_size"] == 32
    assert spec.lengths == [100, 20 * 44, 3580]
    plain = spec_with(batch_size=32, space={"lr": {"log_uniform": [1e-4, 1e-1]}})
    drawn = plain.parsed_space.configuration(lambda parameter: parameter.low)  # type: ignore[union-attr]
    assert drawn["batch_size"] == 32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": {"epochs": 0}}, "horizon.epochs: 0; allowed: greater than 0"),
        ({"horizon": {"epochs": 1, "samples": 2}}, r"allowed: .*\{epochs: N\} or"),
        ({"horizon": {}}, r"horizon: \{\}; allowed: .*\{epochs: N\}"),
        ({"horizon": {"epoch": 3}}, "horizon: unknown key 'epoch'.* Did you mean 'epochs'"),
        (
            {"horizon": {"epochs": 1e9, "dataset": 1437, "batch_size": 64}},
            "horizon: 179,000,000,000 steps; allowed: at most 1,000,000,000 steps",
        ),
        (  # of the shortest run, whatever its schedule is beside in a corner
            {
                "space": {
                    "lr": 1e-3,
                    "batch_size": {"choice": [8, 256]},
                    "schedule": {"choice": {"constant": {}, "cosine": {"warmup": {"steps": 200}}}},
                }
            },
            "space.schedule.warmup: .*200 steps is longer .*at most 100 steps",
        ),
        ({"baseline": {"schedule": {"kind": "wsd", "decay": {"steps": 441}}}}, "at most 440"),
        ({"stress": {"horizon": 3000}}, "stress.horizon: .*at least the horizon, 3,580 steps"),
        ({"batch_size": 0}, "batch_size: 0; allowed: greater than or equal to 1"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        spec_with(**changes)
