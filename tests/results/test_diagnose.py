"""`sweeper diagnose`: a real sweep, and records of runs whose trouble is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sweeper
from sweeper.cli import main
from sweeper.errors import SweepError
from sweeper.lane.pack import Machine
from sweeper.lane.probe_log import Measurement
from sweeper.lane.run import Run
from sweeper.results.diagnose import diagnosis, endpoint, guide, late
from sweeper.results.diagnose.endpoint import End
from sweeper.results.diagnose.evidence import Evidence, gather
from sweeper.results.diagnose.finding import BAD, GOOD, OPEN, number
from sweeper.spec import check

RAW: dict[str, Any] = {
    "name": "sick",
    "task": "perceptron",
    "horizon": 4000,
    "seeds": 1,
    "baseline": {"optimizer": "adam", "lr": 1e-3},
    "space": {"lr": 1e-3, "eps": {"log_uniform": [0.5, 1.0]}},
    "budget": {"trials": 2},
    "stress": {"top": 0},
    "tracking": {"later": True},
}
HELD = {
    "failed": False, "finite": True, "hopeless": False, "draw_up": 0.1, "give_back": 0.0,
    "first_loss": 2.0, "best_loss": 0.1, "onset_step": None, "forecast_step": None,
}  # fmt: skip
FAILED = HELD | {"failed": True, "draw_up": 4.0, "onset_step": 600}
ADAM = {"optimizer": "adam", "lr": 1e-3}


def evidence(
    result: dict[str, Any],
    config: dict[str, Any] | None = None,
    *,
    tail: float = 0.1,
    peers: list[dict[str, Any]] | None = None,
    **series: float,
) -> Evidence:
    """Of a run of 1000 steps whose series are constant."""
    row = {"trial": 1, "origin": "search", "config": config or ADAM, "tail_loss": tail}
    steps = np.arange(0.0, 1000, 10)
    return Evidence(
        spec=check(RAW),
        trial=row,
        run=Run(0, 1, config or ADAM, 0, 1000),
        is_stress=False,
        result=result,
        loss=np.linspace(2, 0.1, 1000),
        series={name: (steps, np.full(100, value)) for name, value in series.items()},
        peers=peers or [],
    )


def end(**changes: Any) -> End:
    curvature = Measurement(1e-3, 1e-8, 10.0, 1.0, 5.0, True, 4.0, 0.0, 10.0)
    known: dict[str, Any] = {
        "loss": np.linspace(2, 0.1, 1000), "cosine": np.full(100, 0.5), "curvature": curvature,
        "trouble": None, "gradient": 1e-4, "first_gradient": 1.0, "train_loss": 0.1,
        "metrics": {},
    }  # fmt: skip
    return End(**{**known, **changes})


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> sweeper.SweepHandle:
    storage = tmp_path_factory.mktemp("sweeps")
    return sweeper.launch({**RAW, "storage": str(storage)}, local=True)


def test_the_late_failure_of_the_perceptron(
    sweep: sweeper.SweepHandle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    storage = sweep.folder.path.parent
    monkeypatch.setattr(
        "sys.argv", ["sweeper", "diagnose", "sick", "--storage", str(storage), "--format", "json"]
    )
    main()
    found = json.loads(capsys.readouterr().out)
    assert found["trial"] == 0
    by_question = {one["question"]: one for one in found["findings"]}
    assert by_question["Does it hold?"]["kind"] == BAD
    why = by_question["By which mechanism?"]
    assert why["says"].startswith("The sharpness reached its threshold")
    # lr lambda_max (1 - beta1) / (2 (1 + beta1)) of the question's data, see docs/stability.md.
    assert "eps of at least 0.083" in why["change"] or "eps of at least 0.08" in why["change"]
    assert "0.9995 a step" in why["change"]
    better = by_question["Is the training loss low?"]
    assert "it is the optimization, not the model" in better["says"]
    assert "As trial 1: eps" in better["change"]
    assert by_question["Are the steps of the right size?"]["says"].find("bounce") > 0
    picture = storage / "sick" / "report" / "diagnosis_0.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_run_is_made_once_more(sweep: sweeper.SweepHandle) -> None:
    known = gather(sweep, 1)
    found = diagnosis.diagnose(sweep, 1)
    assert found.end is not None
    # Another number of slots: the same but for rounding, as long as the run is stable.
    np.testing.assert_allclose(found.end.loss[:100], known.loss[:100], rtol=1e-3)
    assert [one.kind for one in found.findings] == [GOOD] * len(found.findings)
    assert found.end.curvature is not None
    # Least squares of a sum: the Hessian is 2 X^T X, of rank 64 in 1001 dimensions.
    inputs = diagnosis.Variants(diagnosis.TaskName("perceptron", {})).of().data[0].double()
    wide = torch.cat([inputs, torch.ones(64, 1)], 1)
    top = 2 * torch.linalg.svdvals(wide)[0] ** 2
    assert found.end.curvature.top_eigenvalue == pytest.approx(top.item(), rel=1e-3)
    assert "a minimum" in found.findings[2].says


def test_by_the_records_alone(sweep: sweeper.SweepHandle) -> None:
    found = diagnosis.diagnose(sweep, trains=False)
    assert found.end is None
    steps = found.findings[-1]
    assert steps.kind == OPEN
    assert "aren't recorded" in steps.says


@pytest.mark.parametrize(
    ("trial", "options", "says"),
    [
        (7, {}, "there is no trial 7 with a result; allowed: 0, 1"),
        (0, {"trains": False, "smaller": {"data_seed": 1}}, "--records trains nothing"),
    ],
)
def test_what_cannot_be_asked(
    sweep: sweeper.SweepHandle, trial: int, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(SweepError, match=says):
        diagnosis.diagnose(sweep, trial, **options)


def test_a_second_moment_that_lags() -> None:
    found = late.mechanism(evidence(FAILED, grad_surprise=5.0, grad_norm=0.7))
    assert found is not None
    assert "was 5 within 200 steps of the onset" in found.says
    assert "beta2 0.99" in found.change
    assert "clip_norm 0.7" in found.change


def test_eps_that_dominates() -> None:
    config = {"optimizer": "adam", "lr": 0.3, "eps": 0.1}
    found = late.mechanism(evidence(FAILED, config, grad_surprise=0.9, eps_dominance=0.8))
    assert found is not None
    assert "in 80% of the coordinates" in found.says
    assert "lr / eps = 3" in found.says
    assert "lr 0.1, or eps 0.01 with lr 0.03" in found.change


def test_a_sharpness_near_its_threshold_explains_a_failure_without_a_forecast() -> None:
    probes = [
        {"step": 100, "sharpness": 1.0, "threshold": 2.0, "lr": 0.1},
        {"step": 500, "sharpness": 1.9, "threshold": 2.0, "lr": 0.1},
    ]
    config = {"optimizer": "sgd", "lr": 0.1}
    found = late.mechanism(evidence(FAILED | {"probes": probes}, config))
    assert found is not None
    assert "it was 1 at step 100 and 1.9 at step 500, of 2" in found.says
    # Half of the threshold's share: 0.1 * 0.5 * 2 / 1.9 = 0.0526, and at most half of lr.
    assert found.change == "lr 0.05, half of what its curvature bears."


def test_what_is_none_of_these_is_said() -> None:
    found = late.mechanism(evidence(FAILED, grad_surprise=1.0, eps_dominance=0.0))
    assert found is not None
    assert found.kind == OPEN
    assert "no sharpness is known" in found.says
    assert late.mechanism(evidence(HELD)) is None


def test_a_forecast_beyond_the_horizon_is_bad_news() -> None:
    result = HELD | {"forecast_step": 3000, "forecast_confidence": "good", "safe_eps": 0.02}
    found = late.stability(evidence(result))
    assert found.kind == BAD
    assert "instability at step 3,000 (good)" in found.says
    assert "eps of at least 0.02 (now 1e-8)" in found.change


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({}, GOOD, "a minimum"),
        ({"bottom": -1.0}, BAD, "a saddle"),
        ({"top": -0.5, "bottom": -1.0}, BAD, "a maximum"),
        ({"gradient": 0.5}, GOOD, "there is a slope left"),
        ({"none": True}, OPEN, "of which kind isn't known: no second derivative"),
    ],
)
def test_critical_points(changes: dict[str, Any], kind: str, says: str) -> None:
    measured = end().curvature
    assert measured is not None
    spectrum = replace(
        measured,
        top_eigenvalue=changes.get("top", 4.0),
        bottom_eigenvalue=changes.get("bottom", 0.0),
    )
    found = guide.critical_point(
        evidence(HELD),
        end(
            curvature=None if changes.get("none") else spectrum,
            trouble="no second derivative",
            gradient=changes.get("gradient", 1e-4),
        ),
    )
    assert found.kind == kind
    assert says in found.says


@pytest.mark.parametrize(
    ("cosine", "kind", "says", "change"),
    [
        (-0.9, BAD, "bounce", "lr 5e-4 at the end (now 1e-3)"),
        (0.99, BAD, "creep", "lr 0.01, or a longer horizon"),
        (0.5, GOOD, "Neither", ""),
    ],
)
def test_sizes_of_steps(cosine: float, kind: str, says: str, change: str) -> None:
    curvature = end().curvature
    assert curvature is not None
    small = replace(curvature, sharpness=1.0)  # of 38
    found = guide.steps(evidence(HELD), end(cosine=np.full(100, cosine), curvature=small))
    assert found.kind == kind
    assert says in found.says
    assert found.change.startswith(change)
    assert "sharpness 3% of its threshold" in found.says


@pytest.mark.parametrize(
    ("smaller", "kind", "says"),
    [
        (None, GOOD, "no trial that held came to much less"),
        (0.01, BAD, "it is the optimization"),
        (0.2, GOOD, "the optimization does what the model can"),
    ],
)
def test_a_smaller_model_tells_model_from_optimization(
    smaller: float | None, kind: str, says: str
) -> None:
    worse = {"trial": 2, "failure_fraction": 0, "tail_loss": 0.09, "config": ADAM}
    broken = {"trial": 3, "failure_fraction": 0.5, "tail_loss": 1e-9, "config": ADAM}
    other = {"trial": 4, "failure_fraction": 0, "tail_loss": 1e-9,
             "config": {**ADAM, "task_args": {"hidden": 512}}}  # fmt: skip
    found = guide.training_loss(evidence(HELD, peers=[worse, broken, other]), smaller)
    assert found.kind == kind
    assert says in found.says


@pytest.mark.parametrize(
    ("loss", "unseen", "kind", "says"),
    [
        (0.11, None, GOOD, "0.11 on what was held out"),
        (0.5, 0.45, BAD, "overfitting"),
        (0.5, 0.12, BAD, "a mismatch"),
        (0.5, None, OPEN, "overfitting, or data of another kind"),
    ],
)
def test_what_was_held_out(loss: float, unseen: float | None, kind: str, says: str) -> None:
    found = guide.held_out(evidence(HELD), end(metrics={"held_out_loss": loss}), unseen)
    assert found is not None
    assert found.kind == kind
    assert says in found.says
    assert guide.held_out(evidence(HELD), end(), unseen) is None


def noise(samples: int = 200) -> sweeper.Task:
    """Labels that mean nothing: whatever is learnt of them doesn't generalise."""
    random = torch.Generator().manual_seed(0)
    return sweeper.Task(
        model=lambda: nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 1)),
        loss=nn.functional.mse_loss,
        data=(
            torch.randn(samples, 16, generator=random),
            torch.randn(samples, 1, generator=random),
        ),
        batch_size=20,
    )


def test_a_tenth_that_was_not_seen_tells_overfitting() -> None:
    run = Run(0, 0, {"optimizer": "adam", "lr": 1e-2}, 0, 600)
    machine = Machine(compiled=False)
    found = endpoint.make(noise(), run, machine, lambda made: None)
    unseen = endpoint.unseen_tenth(noise(), run, machine, lambda made: None)
    assert found.train_loss < 0.1
    assert unseen > 0.7  # the variance of the labels is 1


def test_figures_in_sentences() -> None:
    assert [number(one) for one in (0, 0.0832, 1e-8, 1386.2, 123456, 3.1e-4)] == [
        "0", "0.0832", "1e-8", "1,386", "1.2e5", "3.1e-4",
    ]  # fmt: skip


def test_an_own_loop_has_its_records(tmp_path: Path) -> None:
    raw = {
        **RAW,
        "task": f"{__name__}:loop",
        "horizon": 50,
        "budget": {"trials": 1},
        "storage": str(tmp_path),
    }
    handle = sweeper.launch(raw, local=True)
    found = diagnosis.diagnose(handle)
    assert found.end is None
    assert found.findings[-1].says == "A loop of its own can't be made once more."


def loop(trial: sweeper.Trial) -> None:
    for step in range(trial.horizon):
        trial.report(step, loss=1 / (step + 1))
