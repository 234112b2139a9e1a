"""The export of a sweep: formats, trials, files, provenance; a recommendation read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import export_cases as ec
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from ruamel.yaml import YAML

import sweeper
from sweeper.cli import cli
from sweeper.errors import SweepError
from sweeper.optim.configuration import parse
from sweeper.optim.schedules import factor, momentum, row_values
from sweeper.results.export.registry import FORMATS, render
from sweeper.results.sweep import SweepHandle

_SPEC: dict[str, Any] = {
    "name": "small",
    "task": "perceptron",
    "horizon": 60,
    "seeds": 2,
    "space": {"lr": {"log_uniform": [1e-4, 1e-2]}},
    "baseline": {"optimizer": "adam", "lr": 1e6},
    "search": {"sampler": "random"},
    "budget": {"trials": 4},
    "lanes": {"slots": 4},
}


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> SweepHandle:
    spec = {**_SPEC, "storage": str(tmp_path_factory.mktemp("sweeps"))}
    return sweeper.launch(spec, local=True, console=Console(quiet=True))


def test_every_format_says_where_it_comes_from(handle: SweepHandle) -> None:
    trial = handle.recommendation()["evidence"]["trial"]
    for format in FORMATS:
        text = handle.export(format)
        assert text.endswith("\n")
        for said in ("small", str(trial), "perceptron", sweeper.__version__, "240"):
            assert said in text, format
    run = json.loads(handle.export())["mlflow"]["run"]
    assert len(run) == 32
    assert f"MLflow: run {run}, experiment small" in handle.export("torch")


def test_yaml_says_what_json_says(handle: SweepHandle) -> None:
    found = YAML(typ="safe").load(handle.export("yaml"))
    assert found == json.loads(handle.export("json"))


def test_another_trial(handle: SweepHandle) -> None:
    baseline = next(row for row in handle.ranking() if row["origin"] == "baseline")
    found = json.loads(handle.export(trial=baseline["trial"]))
    assert found["config"]["lr"] == 1e6
    assert not found["recommended"]
    assert "failed on 5 of 5 fresh seeds" in found["reason"]
    text = handle.export("torch", trial=baseline["trial"])
    assert "chosen by hand of 4, failed on 5 of 5 fresh seeds" in text
    assert "# tested for: 240 optimizer steps, in the stress test (the search had 60)" in text
    with pytest.raises(SweepError, match="has no trial 99"):
        handle.export(trial=99)


def test_the_command_writes_a_file(handle: SweepHandle, tmp_path: Path) -> None:
    storage = ["--storage", str(handle.folder.path.parent)]
    file = tmp_path / "recommended.py"
    done = CliRunner().invoke(
        cli, ["export", "small", *storage, "--format", "torch", "-o", str(file)]
    )
    assert (done.exit_code, done.output) == (0, "")
    assert file.read_text() == handle.export("torch")
    names = ec.run_text(file.read_text())
    assert names["TOTAL_STEPS"] == 240


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "pytorch"], "Did you mean 'torch'?"),
        (["--format", "tensor"], "allowed: deepspeed, json, keras, lightning, optax, torch"),
        (["--trial", "99"], "has no trial 99"),
        (["-o", "nowhere/x.py"], "can't be written"),
    ],
)
def test_what_is_wrong_is_said(handle: SweepHandle, arguments: list[str], says: str) -> None:
    storage = ["--storage", str(handle.folder.path.parent)]
    done = CliRunner().invoke(cli, ["export", "small", *storage, *arguments])
    assert isinstance(done.exception, SweepError)  # main() makes it a message and exit code 2
    assert says in str(done.exception)


def test_a_recommendation_is_read_back(handle: SweepHandle, tmp_path: Path) -> None:
    wanted = handle.recommendation()
    exported = tmp_path / "exported.json"
    exported.write_text(handle.export())
    for path in (handle.folder.path, handle.folder.path / "recommended.json", exported):
        found = sweeper.load_recommendation(path)
        assert found.config == wanted["config"]
        assert found.evidence == wanted["evidence"]
        assert found.proven["horizon"] == 240
    model = torch.nn.Linear(2, 1)
    optimizer, scheduler = found.make_optimizer(model)
    assert optimizer.param_groups[0]["lr"] == wanted["config"]["lr"]
    assert scheduler.total_steps == 240
    assert found.make_optimizer(model, 500)[1].total_steps == 500
    assert found.export("optax") == handle.export("optax")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no recommendation can be read"),
        ("{", "is no JSON"),
        ("[]", "is no recommendation"),
        ('{"schema": 9, "config": {}, "evidence": {}, "proven": {}}', "schema 9 is not known"),
    ],
)
def test_what_is_no_recommendation(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "recommended.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SweepError, match=says):
        sweeper.load_recommendation(path)


@pytest.mark.parametrize("case", ec.CASES)
def test_schedules_are_those_of_sweeper(case: str) -> None:
    for horizon in (200, 23, 1):
        configuration = parse(ec.CASES[case])
        names = ec.run_text(render(ec.found(ec.CASES[case], horizon), "torch"))
        steps = np.arange(horizon + 30.0)[:, None]
        schedule, ends = configuration.schedule, np.full(1, float(horizon))
        values = {k: np.full(1, v) for k, v in row_values(schedule, horizon).items()}
        with np.errstate(all="ignore"):
            shares = factor(schedule.kind, steps, ends, values)[:, 0]
            cycled = momentum(schedule.kind, steps, ends, values)
        found = [names["lr_share"](step) for step in range(horizon + 30)]
        np.testing.assert_allclose(found, shares, rtol=1e-12, atol=1e-15)
        if "momentum_at" in names:
            assert cycled is not None
            found = [names["momentum_at"](step) for step in range(horizon + 30)]
            np.testing.assert_allclose(found, cycled[:, 0], rtol=1e-12)
