"""`sweeper lr-range` and `lr: auto`, run as a user does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from torch import nn

import sweeper
from sweeper.cli import main
from sweeper.errors import SweepError
from sweeper.results.lr_range import run as range_test
from sweeper.results.lr_range import table
from sweeper.runtime.variants import task_name
from sweeper.spec import check
from sweeper.stability import lr_range
from sweeper.study.folder import find
from sweeper.tasks.variants import shared

SPEC: dict[str, Any] = {
    "name": "ranged",
    "task": "perceptron",
    "horizon": 100,
    "seeds": 1,
    "baseline": {"optimizer": "adam", "lr": 1e-3},
    "space": {"optimizer": "adam", "lr": "auto", "beta1": {"uniform": [0.5, 0.9]}},
    "lr_range": {"settings": 4, "seeds": 1, "steps": 120},
    "budget": {"trials": 4},
    "stress": {"top": 0},
    "tracking": {"later": True},
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "spec.yaml"
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump({**SPEC, "storage": str(folder / "s"), **changes}, file)
    return path


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr("sys.argv", ["sweeper", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_full_batch_adam(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "range.png"
    assert (
        command(monkeypatch, "lr-range", write(tmp_path), "--format", "json", "-o", picture) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert [one["origin"] for one in found["settings"]] == ["baseline", *["space"] * 3]
    begins, diverges = found["bounds"]["adam"]
    assert found["search"]["adam"] == pytest.approx([begins / 10, diverges])
    assert picture.read_bytes().startswith(b"\x89PNG")
    # The same ramp of the baseline by torch itself, one step at a time.
    inputs, targets = shared(task_name(check(SPEC))).of().data
    model = shared(task_name(check(SPEC))).of().initial(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-7)
    losses = []
    for lr in np.geomspace(1e-7, 10, 120):
        optimizer.param_groups[0]["lr"] = float(lr)
        loss = ((model(inputs) - targets) ** 2).sum()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # Float32: rounding grows where the run diverges, and is small before.
    np.testing.assert_allclose(found["settings"][0]["loss"][:80], losses[:80], rtol=1e-3)


def test_mini_batches_of_two_optimizers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    space = {"optimizer": {"choice": {"adamw": {"lr": "auto"}, "sgd": {"lr": "auto"}}}}
    path = write(tmp_path, task="digits", space=space)
    assert command(monkeypatch, "lr-range", path, "-o", tmp_path / "x" / "range.png") == 0
    said = capsys.readouterr().out
    assert "adamw: lr: {log_uniform: [" in said
    assert "sgd: lr: {log_uniform: [" in said
    assert (tmp_path / "x" / "range.png").exists()


def test_a_sweep_searches_what_its_test_found_and_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path)
    assert command(monkeypatch, "launch", path, "--local") == 0
    assert "lr: auto is" in capsys.readouterr().err
    folder = find("ranged", str(tmp_path / "s"))
    spec = folder.read_spec()
    assert spec.lr_range.found is not None
    begins, diverges = spec.lr_range.found["adam"]
    trials = sweeper.SweepHandle(folder).ranking()
    searched = [one["config"]["lr"] for one in trials if one["origin"] != "baseline"]
    assert len(searched) == 3
    assert all(begins / 10 <= lr <= diverges for lr in searched)
    assert (folder.path / "report" / "lr_range.png").exists()
    # A second test would say something else on a machine that rounds otherwise.
    monkeypatch.setattr("sweeper.results.lr_range.run.run", None)
    assert command(monkeypatch, "launch", path, "--local") == 0
    assert command(monkeypatch, "resume", "ranged", "--local", "--add-trials", "1",
                   "--storage", tmp_path / "s") == 0  # fmt: skip
    assert folder.read_spec().lr_range.found == spec.lr_range.found
    assert len(sweeper.SweepHandle(folder).ranking()) == 5


def broken(kind: str) -> sweeper.Task:
    """A task whose data have a gap."""
    inputs = torch.linspace(-1, 1, 64)[:, None]
    targets = torch.sin(3 * inputs)
    if kind == "inputs":
        inputs[17] = torch.nan
    if kind == "targets":
        targets[3] = torch.inf
    if kind == "logarithm":
        targets = targets.abs()
        targets[3] = 0.0
    return sweeper.Task(
        model=lambda: nn.Linear(1, 1),
        loss=(lambda output, target: (output - target.log()).square().mean())
        if kind == "logarithm"
        else nn.functional.mse_loss,
        data=(inputs, targets),
        batch_size=8,
    )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("inputs", "1 of all 64 samples have inputs that aren't finite, the first is number 17"),
        ("targets", "1 of all 64 samples have targets that aren't finite, the first is number 3"),
        ("logarithm", "the untrained model has a loss of inf on the batch of step 2"),
    ],
)
def test_gaps_are_explained(kind: str, said: str) -> None:
    spec = check({**SPEC, "task": f"{__name__}:broken", "task_args": {"kind": kind}})
    found = range_test.run(spec, shared(task_name(spec)))
    text = " ".join(str(part) for part in table.describe(found))
    assert said in text
    assert table.as_dict(found)["bounds"] is None
    json.dumps(table.as_dict(found), allow_nan=False)
    with pytest.raises(SweepError, match=rf"space\.lr: no learning rate .* {said}"):
        found.bounds()


def test_a_run_that_breaks_before_it_diverges_is_remarked() -> None:
    lr = np.geomspace(1e-7, 10, 100)
    loss = np.r_[np.full(50, 2.0), np.linspace(2, 1, 20), np.full(30, np.nan)]
    reading = lr_range.read(lr, loss)
    one = range_test.Tried({"optimizer": "adam"}, "space", loss, reading, None)
    text = " ".join(str(part) for part in table.describe(range_test.RangeTest(lr, [one])))
    assert f"non-finite at lr {lr[70]:.1e}, while it was no higher than at the start" in text


def loop(trial: sweeper.Trial) -> None:
    raise AssertionError


def test_an_own_loop_is_refused(tmp_path: Path) -> None:
    spec = check({**SPEC, "task": f"{__name__}:loop"})
    with pytest.raises(SweepError, match="sets its learning rates itself"):
        range_test.run(spec, shared(task_name(spec)))
