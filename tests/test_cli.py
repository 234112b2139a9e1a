"""The command line: bad input is one message and exit code 2, and nothing is started."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.ranking import POLICIES

SPEC = """
name: small
task: perceptron
horizon: 50
space: {lr: {log_uniform: [1e-5, 1e-1]}}
budget: {trials: 2}
stress: {top: 0}
"""


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    monkeypatch.setattr(sys, "argv", ["sweeper", *map(str, arguments)])
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("serch.sampler=tpe", "unknown key 'serch'"),
        ("search.sampler=tp", "search.sampler: 'tp'"),
        ("horizon=-5", "horizon: -5"),
        ("horizon=many", "horizon: 'many'"),
        ("space.lr={log_uniform: [1, 0.1]}", "[1, 0.1] is empty"),
        ("task=perceptrn", "Did you mean 'perceptron'?"),
        ("space.optimizer=adm", "Did you mean 'adam'?"),
        ("space.schedule=cosin", "Did you mean 'cosine'?"),
        ("space={optimizer: sgd, eps: {log_uniform: [1e-9, 1]}}", "no hyperparameter 'eps'"),
        ("space.no_decay=[haed.*]", "space.no_decay: no parameter matches 'haed.*'"),
        ("space.schedule={kind: sgdr, T_0: {steps: 900}}", "longer than the horizon"),
        ("name=a/b", "name: 'a/b'"),
        ("task_args={data_sed: 1}", "Did you mean 'data_seed'?"),
        ("tracking.uri=http://127.0.0.1:9", "no tracking server answers at http://127.0.0.1:9"),
        ("storage=/proc/nowhere", "can't write to /proc/nowhere"),
        ("horizon", "key=value"),
    ],
)
def test_bad_input_is_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    setting: str,
    says: str,
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    code, out, errors = call(monkeypatch, capsys, "launch", spec, "--set", setting)
    assert code == 2
    assert says in errors
    assert out == ""
    assert errors.startswith("Error: ")
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == [spec]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("launch", "nothing.yaml"), "can't read nothing.yaml"),
        (("launch",), "Missing argument"),
        (("best", "nothing"), "there is no sweep 'nothing'"),
        (("best", "../etc"), "is not the name of a sweep"),
        (("best", "nothing", "--by", "fnal"), "'fnal' is not one of 'robust', 'final', 'best'"),
        (("export", "nothing", "--format", "json"), "there is no sweep"),
        (("resume", "nothing"), "there is no sweep"),
        (("ui",), "no sweep is recorded"),
        (("lanch",), "No such command"),
    ],
)
def test_bad_commands_are_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, errors = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert says in errors
    assert "Traceback" not in errors


def test_the_same_name_with_another_spec_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    slots = ("--local", "--set", "lanes.slots=2")
    assert call(monkeypatch, capsys, "launch", spec, *slots)[0] == 0
    before = (tmp_path / "sweeps" / "small" / "sweep.yaml").read_bytes()
    code, _, errors = call(monkeypatch, capsys, "launch", spec, "--set", "horizon=60", *slots)
    assert code == 2
    assert "exists with another horizon" in errors
    assert (tmp_path / "sweeps" / "small" / "sweep.yaml").read_bytes() == before


def test_best_by_every_policy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    flags = ("--local", "--set", "lanes.slots=4", "--set", "budget.trials=4")
    assert call(monkeypatch, capsys, "launch", spec, *flags)[0] == 0
    for policy in POLICIES:
        code, out, _ = call(
            monkeypatch, capsys, "best", "small", "--by", policy, "--format", "json"
        )
        rows = json.loads(out)
        assert code == 0
        assert [row["rank"] for row in rows] == [1, 2, 3, 4]
        assert sorted(row["trial"] for row in rows) == [0, 1, 2, 3]
        if policy == "final":
            finals = [row["final_loss"] for row in rows]
            assert finals[0] == min(finals)
    code, out, _ = call(monkeypatch, capsys, "best", "small", "--by", "final", "--top", "2")
    assert code == 0
    assert "best 2 of 4 trials by final, horizon 50" in out


def test_later_tracking_goes_on_without_the_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweeper.runtime.recorder._STALLED_ERROR_S", 1.0)
    settings = ["tracking.uri=http://127.0.0.1:9", "tracking.later=true", "lanes.slots=2"]
    flags = [word for setting in settings for word in ("--set", setting)]
    code, out, errors = call(monkeypatch, capsys, "launch", spec, "--local", *flags)
    assert code == 0
    assert "best 2 of 2 trials" in out
    assert "MLflow has 0 of 2 trials" in errors


def test_dry_run_says_what_would_be_done_and_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(monkeypatch, capsys, "launch", spec, "--dry-run", "--set", "lanes.slots=2")
    assert code == 0
    for words in ("lr: log-uniform in [1e-05, 0.1]", "2 trials x 2 seeds = 4", "run-steps  200"):
        assert words in out
    assert out.endswith("Nothing was started.\n")
    assert list(tmp_path.iterdir()) == [spec]


def test_tasks_and_doctor_and_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = call(monkeypatch, capsys, "tasks")
    assert "perceptron" in out
    assert "digits" in out
    _, out, _ = call(monkeypatch, capsys, "doctor")
    assert "torch: 2." in out
    assert "compiler" in out
    _, out, _ = call(monkeypatch, capsys, "--help")
    for command in ("launch", "resume", "best", "export", "validate", "tasks", "ui", "doctor"):
        assert command in out


def test_all_failed_recommends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    diverging = "{optimizer: adamw, lr: 1e6, weight_decay: {uniform: [1e5, 1e6]}}"
    spec.write_text(SPEC.replace("{lr: {log_uniform: [1e-5, 1e-1]}}", diverging))
    monkeypatch.chdir(tmp_path)
    flags = ("--local", "--set", "lanes.slots=4")
    code, out, _ = call(monkeypatch, capsys, "launch", spec, *flags)
    assert code == 1
    assert "Nothing is recommended: " in out
    assert out.count("failed on 2 of 2 seeds of the search: it diverged") >= 2
    code, _, errors = call(monkeypatch, capsys, "export", "small")
    assert code == 2
    assert "2 of 2 trials of 'small' failed; trial 0 failed on 2 of 2 seeds" in errors
    code, out, _ = call(monkeypatch, capsys, "best", "small", "--format", "json")
    assert [row["failure_fraction"] for row in json.loads(out)] == [1.0, 1.0]
    assert not (tmp_path / "sweeps" / "small" / "recommended.json").exists()
