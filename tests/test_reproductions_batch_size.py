"""The part `batch_size` of docs/reproductions.md, at a small scale."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from reproductions import page
from reproductions.batch_size import cost, outcome, part, problem, training
from reproductions.progress import Progress
from reproductions.scale import Scale
from sweeper.tasks.bundled import digits
from sweeper.tasks.layout import Layout

QUICK = Scale(0.05, compiled=False)


def test_the_page_has_every_section_that_the_code_generates() -> None:
    section = page.read("batch_size")
    assert re.findall(r"^##+ .*$", section, re.MULTILINE) == list(part.HEADINGS)
    assert f"](figures/{outcome.FIGURE})" in section
    assert (page.DOCS / "figures" / outcome.FIGURE).exists()


def test_the_part_at_a_small_scale(tmp_path: Path) -> None:
    text = part.make(QUICK, Progress(quiet=True), tmp_path)
    assert re.findall(r"^##+ .*$", text, re.MULTILINE) == list(part.HEADINGS)
    assert (tmp_path / outcome.FIGURE).exists()
    names = ["8", "32", "128", "full (1,437)"]
    assert re.findall(r"^\| digits(?:_cnn)? \| ([^|]+) \|", text, re.MULTILINE) == names * 2
    # After about one epoch many small steps are ahead of a few large ones.
    after = text.partition("**After 1 epochs**")[2].partition("**After")[0]
    rows = [line.split("|") for line in after.splitlines() if re.match(r"\| (\d|full)", line)]
    losses = [float(cells[4]) for cells in rows]
    assert len(losses) == 4
    assert losses[0] < losses[2]


def test_a_larger_batch_costs_more_per_update_and_less_per_epoch() -> None:
    build = problem.TASKS["digits_cnn"]
    small, full = (
        cost._cost("digits_cnn", build(size), size, QUICK) for size in (8, problem.FULL)
    )
    assert small.update < full.update
    assert small.epoch == pytest.approx(small.update * 179)
    assert full.epoch == full.update


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
    full = training.Place(problem.FULL, 1.0, 100, 0.1, 0.9, 0.3, 0.001, 1.0)
    small = replace(full, size=8, accuracy=accuracy, curvature=curvature)
    said = outcome._claims("equal epochs", [small, full], 4)
    assert f"generalise better {generalise} (" in said
    assert f"end flatter {flatter} (" in said


def test_a_difference_within_its_error_does_not_count() -> None:
    full = training.Place(problem.FULL, 1.0, 100, 0.1, 0.9, 0.3, 0.05, 1.0)
    said = outcome._claims("equal epochs", [replace(full, size=8, accuracy=0.93), full], 4)
    assert "generalise better is **not** seen (" in said
