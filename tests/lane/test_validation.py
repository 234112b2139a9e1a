"""`sweeper validate`: a task alone and packed, or a spec; what is wrong is exit code 2."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from sweeper.cli import main
from sweeper.errors import SweepError
from sweeper.lane import capacity
from sweeper.lane.capacity import Measurement
from sweeper.lane.pack import Machine
from sweeper.lane.validation import Validation, validate
from sweeper.optim.configuration import parse
from sweeper.results.validation import describe
from sweeper.tasks.layout import Form, Layout
from sweeper.tasks.registry import TaskName

EAGER = Machine("cpu", "float64", compiled=False)
ADAM = parse({"optimizer": "adam", "lr": 1e-3})
MODULE = """
import torch
from torch import nn
import sweeper

X = torch.linspace(-1, 1, 24).reshape(12, 2)

class Branch(nn.Module):
    def forward(self, x):
        return x.tanh() if x.mean() > 0 else x.relu()

def task(*middle, **changes):
    return sweeper.Task(
        model=lambda: nn.Sequential(nn.Linear(2, 3), *(one() for one in middle), nn.Linear(3, 1)),
        loss=nn.functional.mse_loss,
        data=(X, X.sum(1, keepdim=True)),
        **changes,
    )

def plain(batch_size: int = 4):
    return task(nn.Tanh, batch_size=batch_size)

def layers():
    return task(lambda: nn.BatchNorm1d(3), nn.Dropout, batch_size=4)

def several():
    class Two(nn.Linear):
        def forward(self, x, scale):
            return super().forward(x) * scale
    data = ((X, X[:, :1]), X)
    return sweeper.Task(model=lambda: Two(2, 2), loss=nn.functional.mse_loss, data=data)

class Pairs(torch.utils.data.Dataset):
    def __len__(self):
        return 12
    def __getitem__(self, index):
        return X[index] + 0.1 * torch.rand(2), X[index, :1]

def loaded():
    return sweeper.Task(
        model=lambda: nn.Linear(2, 1), loss=nn.functional.mse_loss, data=Pairs(), batch_size=5
    )

def rounded():
    return task(nn.Tanh, mixed_precision="bfloat16")

def branch():
    return task(Branch)

def shapes():
    return task(lambda: nn.Linear(7, 3))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module of tasks; nothing is timed for long."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "tasks_here", raising=False)
    monkeypatch.setattr("sweeper.lane.validation._TIMED_S", 0.01)
    monkeypatch.setattr("sweeper.lane.capacity._MEASURE_S", 0.01)
    (tmp_path / "tasks_here.py").write_text(MODULE)
    return tmp_path


def found(name: str, machine: Machine = EAGER, **changes: object) -> Validation:
    task = TaskName(f"tasks_here:{name}", {}, {"allow_unpacked": True, **changes})
    return validate(task, ADAM, machine, steps=15, slots=(1, 2, 4))


def text_of(name: str, validation: Validation) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        for part in describe(TaskName(name, {}), validation):
            console.print(part)
    return captured.get()


@pytest.mark.parametrize("name", ["plain", "layers", "several", "loaded", "branch"])
def test_alone_and_packed_are_the_same(name: str) -> None:
    made = found(name)
    assert made.losses_alone.shape == made.losses_packed.shape == (15, 2)
    np.testing.assert_allclose(made.losses_packed, made.losses_alone, rtol=1e-9)
    assert made.gap <= 1e-9
    assert not np.array_equal(made.losses_alone[:, 0], made.losses_alone[:, 1])
    assert made.alone > 0 and all(one.rate > 0 for one in made.packed)
    assert made.packed[-1].capacity == (1 if name == "branch" else 4)
    assert made.knee == capacity.choose(made.packed)


def test_alone_is_a_loop_of_torch() -> None:
    made, task = found("plain"), TaskName("tasks_here:plain", {}).build()
    model = task.initial(1).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(15):
        inputs, targets = task.batch(1, step)
        loss = nn.functional.mse_loss(model(inputs.double()), targets.double())
        assert made.losses_alone[step, 1] == pytest.approx(loss.item(), rel=1e-12)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["layers", "rounded"])
def test_in_float32_to_rounding(name: str) -> None:
    made = found(name, Machine("cpu", "float32", compiled=False))
    assert 0 < made.gap < (1e-4 if name == "layers" else 0.05)


def test_what_stands_in_the_text() -> None:
    text = text_of("tasks_here:layers", found("layers"))
    assert "tasks_here:layers: 19 parameters in 6 tensors" in text
    assert "of every run's own beside them: 1.running_mean, 1.running_var, 1.num_b" in text
    assert "random layers" in text and "the same losses" in text
    assert "can't be packed" not in text


def test_what_cannot_be_packed_is_said_and_tried() -> None:
    made = found("branch")
    assert made.form.trouble.startswith("1 (Branch): a number or a branch")
    text = text_of("tasks_here:branch", made)
    assert "It can't be packed: 1 (Branch)" in text and "trained one by one." in text
    assert "Packing buys" not in text
    with pytest.raises(SweepError, match=r"can't be packed: 1 .Branch.*set allow_unpacked: true"):
        found("branch", allow_unpacked=False)


def test_other_losses_and_the_knee_are_shown() -> None:
    losses = np.array([[4.0, 4.0], [3.0, 3.0]])
    rates = [Measurement(1, 100.0), Measurement(4, 380.0), Measurement(16, 400.0)]
    form = Form(Layout(("weight",), (torch.Size([2]),)))
    made = Validation(form, losses, losses * 1.01, 0.01, 50.0, rates)
    assert made.knee == 4
    text = text_of("mine:build", made)
    assert "2 parameters in 1 tensors" in text
    assert "NOT the same losses (largest difference 1.0e-02 of the loss; first 4, last 3)" in text
    assert "Packing buys 7.6 times the speed on this machine, with 4 slots" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["alone", "50", "1.0"] in lines and ["16", "400", "8.0"] in lines


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `sweeper validate`."""
    before = sys.argv
    sys.argv = ["sweeper", "validate", *map(str, arguments)]
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = before
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("name", ["plain", "branch"])
def test_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    with pytest.warns(RuntimeWarning, match="training uncompiled"):
        code, out, errors = call(capsys, "--task", f"tasks_here:{name}", "--steps", 3)
    assert (code, errors) == (0, "")
    assert "Two runs, 3 steps, alone in a plain torch loop and packed: the same losses" in out
    assert re.search(r"\n +alone +[\d,]+ +1\.0", out)
    assert ("can't be packed" in out) == (name == "branch")


def test_arguments_of_the_task(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    with pytest.warns(RuntimeWarning):
        code, out, _ = call(
            capsys, "--task", "tasks_here:plain", "--arg", "batch_size=12", "--steps", 1
        )
    assert code == 0 and "Two runs, 1 steps" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Give either a SPEC or --task"),
        (("spec.yaml", "--task", "digits"), "Give either a SPEC or --task"),
        (("--task", "digts"), "Did you mean 'digits'?"),
        (("--task", "nowhere:build"), "there is no module 'nowhere'"),
        (("--task", "tasks_here:biuld"), "tasks_here has no function 'biuld'"),
        (("--task", "tasks_here:X"), "tasks_here has no function 'X'"),
        (("--task", "tasks_here:Pairs"), "returns Pairs; allowed: a sweeper.Task"),
        (("--task", "tasks_here:plain", "--arg", "batch_sise=3"), "Did you mean 'batch_size'?"),
        (("--task", "tasks_here:plain", "--arg", "batch_size"), "key=value"),
        (("--task", "tasks_here:plain", "--arg", "batch_size=99"), "a batch of 99"),
        (("--task", "tasks_here:shapes"), "1 (Linear) fails on the task's data"),
        (("--task", ""), ""),
        (("--task", "digits", "--steps", "0"), "'--steps': 0 is not in the range"),
        (("nothing.yaml",), "can't read nothing.yaml"),
    ],
)
def test_what_is_wrong_is_one_message(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    code, out, errors = call(capsys, *arguments)
    assert code == 2
    assert says in errors and errors.strip()
    assert out == "" and "Traceback" not in errors


def test_a_spec_is_checked_with_its_task(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    spec = folder / "spec.yaml"
    text = "name: a\ntask: tasks_here:branch\nhorizon: 50\nspace: {lr: 0.1}\n"
    spec.write_text(text + "budget: {trials: 2}\n")
    code, out, errors = call(capsys, spec)
    assert (code, out) == (2, "")
    assert "can't be packed: 1 (Branch)" in errors and "allow_unpacked: true" in errors
    code, out, errors = call(capsys, spec, "--set", "allow_unpacked=true")
    assert code == 0, errors
    assert "is valid: 2 trials" in out
    assert sorted(one.name for one in folder.iterdir() if one.suffix) == [
        "spec.yaml",
        "tasks_here.py",
    ]
