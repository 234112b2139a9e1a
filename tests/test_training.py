"""`sweeper.train`: the acceptance of the question's perceptron, and its arguments."""

import numpy as np
import pytest
import torch

import sweeper
from sweeper import SweepError
from sweeper.optim.compiler import missing_compiler

ADAM = {"optimizer": "adam", "lr": 1e-3}


def test_adam_climbs_back_where_amsgrad_and_sgd_hold() -> None:
    found = sweeper.train(
        "perceptron",
        [ADAM, {**ADAM, "amsgrad": True}, {"optimizer": "sgd", "lr": 1e-4}],
        seeds=[0],
        horizon=5000,
    )
    assert found.loss.shape == (3, 5000)
    late = found.loss[:, 4000:].max(axis=1)
    assert found.loss[0, :1500].min() < 1e-10
    assert 1e-4 < late[0] < 1e-1
    assert (late[1:] < 1e-9).all()
    assert np.isfinite(found.grad_norm).all()


def test_runs_are_ordered_configs_by_seeds_and_evaluated() -> None:
    found = sweeper.train(
        "digits", [{"lr": 1e-3}, {"lr": 1e-2}], seeds=[3, 1], horizon=30, slots=2, compiled=False
    )
    assert [(config["lr"], seed) for config, seed in found.runs] == [
        (1e-3, 3), (1e-3, 1), (1e-2, 3), (1e-2, 1),
    ]  # fmt: skip
    assert found.loss[0, 0] == found.loss[2, 0] != found.loss[1, 0]
    assert all(0 <= e["held_out_accuracy"] <= 1 for e in found.evaluations)


def test_more_runs_than_slots_give_the_same_as_any_order() -> None:
    configs = [{"lr": lr} for lr in (1e-4, 1e-3, 1e-2, 1e-1, 1.0)]
    one = sweeper.train("perceptron", configs, horizon=300, slots=2, compiled=False)
    other = sweeper.train("perceptron", configs[::-1], horizon=300, slots=2, compiled=False)
    assert np.array_equal(one.loss, other.loss[::-1])


def test_a_diverging_run_ends_in_nan_and_leaves_the_others_alone() -> None:
    bad = {"optimizer": "adamw", "lr": 1e6, "weight_decay": 1e6}
    found = sweeper.train("digits", [bad, ADAM], horizon=300, slots=2, compiled=False)
    alone = sweeper.train("digits", [ADAM], horizon=300, slots=2, compiled=False)
    assert np.isnan(found.loss[0, -1])
    assert np.isfinite(found.loss[0, 0])
    assert found.evaluations[0] == {}
    assert np.array_equal(found.loss[1], alone.loss[0])


def test_without_a_compiler_it_warns_once_and_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.warns(RuntimeWarning, match="no C\\+\\+ compiler") as caught:
        found = sweeper.train("perceptron", [ADAM], horizon=5)
    assert len(caught) == 1
    assert found.loss[0, 0] == pytest.approx(91.74887, rel=2e-6)
    assert missing_compiler(torch.device("cpu"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"horizon": 0}, "horizon: 0; allowed: an int of steps >= 1"),
        ({"horizon": True}, "horizon"),
        ({"seeds": [-1]}, "seeds: -1; allowed: ints >= 0"),
        ({"slots": 0}, "slots"),
        ({"dtype": "float16"}, "dtype: 'float16'; allowed: float32, float64"),
        ({"device": "tpu9"}, "device"),
        ({"configs": [{"lr": -1}]}, r"configs\[0\].lr: -1 is out of range"),
        ({"configs": [ADAM, {"optimizer": "sgd", "eps": 1}]}, r"configs\[1\]: sgd has no"),
        ({"configs": [{"schedule": {"kind": "cosine", "warmup": {"steps": 9}}}]}, "at most 5"),
        ({"task": "perceptrn"}, "Did you mean 'perceptron'"),
    ],
)
def test_bad_arguments_are_refused_before_a_step(arguments: dict[str, object], says: str) -> None:
    given = {"task": "perceptron", "configs": [ADAM], "horizon": 5, **arguments}
    with pytest.raises(SweepError, match=says):
        sweeper.train(**given)  # type: ignore[arg-type]
