"""docs/reproductions.md and the code that writes it."""

import re
from pathlib import Path

import numpy as np
import pytest

from reproductions import page
from reproductions.__main__ import PARTS
from reproductions.divisor import Divisor, lanczos, least_squares
from reproductions.progress import Progress
from reproductions.runs import Order, rise, train
from reproductions.scale import Scale
from reproductions.stability import optimizer_tables, optimizers, problem

QUICK = Scale(0.2, compiled=False)
WANTED = ("Adam, its defaults", "AMSGrad", "SGD, momentum 0.9, lr 1e-4", "Adam, eps 0.1")


def test_the_optimizers_at_a_small_scale() -> None:
    cases = [case for case in optimizers.CASES if case.name in WANTED]
    found = optimizers.measure(QUICK, Progress(quiet=True), cases)
    adam, *others = found[0]
    assert adam.outcome.failed
    assert adam.seen == pytest.approx(3035, rel=0.1)
    assert adam.error is not None
    assert abs(adam.error) < 0.05
    assert adam.probed is not None
    assert adam.probed <= 400
    assert not any(one.outcome.failed for one in others)
    text = optimizer_tables.section(found)
    lines = [line for line in text.splitlines() if line.startswith("| Adam, its defaults |")]
    assert len(lines) == 2
    assert "**fails**" in lines[0]
    assert "**1 of 1**" in lines[1]
    assert all(text.count(f"| {name} |") == 2 for name in WANTED)
    assert "1 of 4 runs fail; 1 of them were" in text
    assert "None of the 3 runs that hold was forecast to fail." in text


@pytest.mark.parametrize("name", PARTS)
def test_the_page_has_every_section_that_the_code_generates(name: str) -> None:
    section = page.read(name)
    headings = [line for line in section.splitlines() if re.match(r"##+ ", line)]
    assert headings == list(PARTS[name].HEADINGS)
    figures = re.findall(r"\]\((figures/[^)]+)\)", section)
    assert figures
    assert all((page.DOCS / figure).exists() for figure in figures)
    assert f"`make reproduce PART={name}`" in section
    tables = [line for line in section.splitlines() if line.startswith("|")]
    assert tables
    assert not any("nan" in line or "||" in line for line in tables)


def test_no_figure_is_left_over() -> None:
    """Those of a part begin with its name, and the page shows each of them."""
    made = [path.name for path in (page.DOCS / "figures").iterdir()]
    ours = {name for name in made if name.startswith(tuple(PARTS))}
    assert ours == set(re.findall(r"\]\(figures/([^)]+)\)", page.PAGE.read_text()))


def test_a_section_replaces_itself_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    for part_name, text in (("one", "first"), ("two", r"other \1"), ("one", "second")):
        page.write(part_name, text, path)
    assert page.read("one", path).strip() == "second"
    assert page.read("two", path).strip() == r"other \1"
    assert path.read_text().startswith("# Reproductions")


def test_probes_by_lanczos_agree_with_exact_ones() -> None:
    order = Order({**problem.ADAM, "eps": 0.01}, 400, looks=(200,))
    outcome = train(problem.task(0), [order], compiled=False)[0]
    row = outcome.rows[200]
    exact = least_squares(problem.design(0))(outcome.configuration, 400, row)
    found = lanczos(problem.task(0), iterations=60)(outcome.configuration, 400, row)
    assert found.sharpness == pytest.approx(exact.sharpness, rel=1e-3)
    assert found.moment_share == pytest.approx(exact.moment_share, abs=1e-2)
    assert dict(found.ahead) == pytest.approx(dict(exact.ahead), rel=1e-2)
    assert Divisor.of(outcome.configuration, 400, row).step == 200


def test_rise_wants_a_settled_loss_before() -> None:
    loss = np.concatenate([np.ones(50), np.full(99, 1e-9), np.ones(5), np.full(100, 1e-9), [1.0]])
    assert rise(loss) == 254
    assert rise(loss[:254]) is None
    assert rise(np.append(loss[:254], np.nan)) == 254
