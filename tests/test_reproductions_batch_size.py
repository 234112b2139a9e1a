"""The part `batch_size` of docs/reproductions.md, at a small scale."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reproductions.batch_size import cost, outcome, part, problem, training
from reproductions.scale import Scale
from sweeper.tasks.bundled import digits
from sweeper.tasks.layout import Layout

QUICK = Scale(0.02, compiled=False)


def costs(task: str, updates: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)) -> list[cost.Cost]:
    steps = [problem.TASKS[task](size).epoch_steps for size in problem.SIZES]
    each = zip(problem.SIZES, updates, steps, strict=True)
    return [cost.Cost(task, size, update, update, update * n) for size, update, n in each]


def test_the_training_at_a_small_scale(tmp_path: Path) -> None:
    small, full = (training._course(size, QUICK) for size in (8, problem.FULL))
    # After about one epoch many small steps are ahead of a single large one.
    assert small.by_epochs.updates == 180
    assert small.by_epochs.loss < full.by_epochs.loss
    assert small.curve[0].tolist() == list(range(20, 181, 20))
    assert small.curve[1].min() < 0.5 * small.curve[1][0]
    found = [small, small, full, full]  # one of each size is drawn
    outcome.draw(found, tmp_path)
    assert (tmp_path / outcome.FIGURE).exists()
    text = outcome.section(found, costs("digits"), QUICK.count(training.SEEDS))
    assert text.startswith(part.HEADINGS[2])
    after = text.partition("**After equal epochs**, 1:")[2].partition("**After")[0]
    rows = [line.split("|") for line in after.splitlines() if re.match(r"\| (\d|full)", line)]
    assert [float(cells[4]) for cells in rows] == pytest.approx(
        [one.by_epochs.loss for one in found], rel=0.05
    )


def test_an_epoch_costs_its_updates() -> None:
    tasks = [problem.TASKS["digits"](size) for size in problem.SIZES]
    found = cost._costs("digits", tasks, QUICK)
    assert [one.size for one in found] == list(problem.SIZES)
    assert [one.epoch / one.update for one in found] == pytest.approx([179, 44, 11, 1])
    assert all(0 < one.update <= one.median for one in found)


@pytest.mark.parametrize(
    ("updates", "says"),
    [
        ((1.0, 1.0, 1.5, 1.9), "holds for all sizes"),
        ((1.0, 1.9, 2.0, 9.0), "holds for batches up to 32, not for the full one"),
        ((1.0, 2.0, 1.5, 9.0), "is **not** seen for any"),
    ],
)
def test_what_a_large_batch_costs(updates: tuple[float, ...], says: str) -> None:
    text = cost.section([*costs("digits", updates), *costs("digits_cnn")])
    names = ["8", "32", "128", "full (1,437)"]
    assert re.findall(r"^\| digits(?:_cnn)? \| ([^|]+) \|", text, re.MULTILINE) == names * 2
    said = text.partition("On `digits` ")[2].partition("On `digits_cnn` ")[0]
    assert says in said
    assert f"takes {updates[3]:.1f} times as long per update for 180 times the images" in said
    assert f"takes {179 / updates[3]:.1f} times as long in batches of 8" in said


def test_the_full_loss_is_that_of_the_whole_training_set() -> None:
    task = digits.build(batch_size=8)
    model = task.initial(1)
    theta = Layout.of(model).flatten(model)
    whole = replace(task, batch_size=None)
    expected = whole.loss(model(whole.data[0]), whole.data[1]).item()
    assert training.full_loss(task)(theta) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("accuracy", "curvature", "generalise", "flatter"),
    [
        (0.95, 0.5, "holds", "holds"),
        (0.905, 1.1, "is **not** seen", "is **not** seen"),
        (0.85, 2.0, "is **reversed**", "is **reversed**"),
    ],
)
def test_the_claims(accuracy: float, curvature: float, generalise: str, flatter: str) -> None:
    full = training.Place(problem.FULL, 1.0, 100, 0.1, 0.9, 0.3, 0.001, 1.0, 0.01)
    small = replace(full, size=8, accuracy=accuracy, curvature=curvature)
    said = outcome._claims("equal epochs", [small, full], 4)
    assert "train better is **not** seen (training loss 1.0e-1 against 1.0e-1)" in said
    assert f"generalise better {generalise} (" in said
    assert f"end flatter {flatter} (" in said


def test_who_trains_better_is_not_asked_at_equal_loss() -> None:
    full = training.Place(problem.FULL, 1.0, 100, 0.1, 0.9, 0.3, 0.001, 1.0, 0.01)
    ahead, behind = replace(full, size=8, loss=0.01), replace(full, size=8, loss=0.5)
    assert "train better holds" in outcome._claims("equal epochs", [ahead, full], 4)
    assert "train better is **reversed**" in outcome._claims("equal epochs", [behind, full], 4)
    assert "train better" not in outcome._claims(outcome._SAME_LOSS, [ahead, full], 4)


def test_a_difference_within_its_error_does_not_count() -> None:
    full = training.Place(problem.FULL, 1.0, 100, 0.1, 0.9, 0.3, 0.05, 1.0, 0.5)
    small = replace(full, size=8, accuracy=0.93, curvature=0.6)
    said = outcome._claims("equal epochs", [small, full], 4)
    assert "generalise better is **not** seen (" in said
    assert "end flatter is **not** seen (" in said


def test_held_out_metrics_are_those_of_the_model() -> None:
    task = digits.build(batch_size=8)
    model = task.initial(5)
    theta = Layout.of(model).flatten(model)
    assert task.evaluate is not None
    with torch.no_grad():
        wanted = dict(task.evaluate(model.eval()))
    assert training.held_out(task, theta) == pytest.approx(wanted, rel=1e-12)
