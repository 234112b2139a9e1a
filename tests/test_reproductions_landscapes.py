"""The part `landscapes` of docs/reproductions.md, at a small scale."""

import re

import numpy as np
import pytest
import torch

from reproductions import page
from reproductions.landscapes import (
    constant_lr,
    escape,
    flat_minima,
    optimizers,
    part,
    paths,
    running_mean,
    slips,
)
from reproductions.progress import Progress
from reproductions.runs import Order
from reproductions.scale import Scale
from sweeper.tasks.bundled import saddle, valley

QUICK, QUIET = Scale(0.05, compiled=False), Progress(quiet=True)


def test_the_page_has_every_section_that_the_code_generates() -> None:
    section = page.read("landscapes")
    assert re.findall(r"^##+ .*$", section, re.MULTILINE) == list(part.HEADINGS)
    figures = re.findall(r"\]\((figures/[^)]+)\)", section)
    assert figures == [f"figures/{one.FIGURE}" for one in (running_mean, optimizers)]
    assert all((page.DOCS / figure).exists() for figure in figures)
    tables = [line for line in section.splitlines() if line.startswith("|")]
    assert all("nan" not in line and "||" not in line for line in tables)


def test_a_path_is_that_of_torch() -> None:
    config = {"optimizer": "sgd", "lr": 0.01, "momentum": 0.9}
    path = paths.follow(valley.build(), [Order(config, 20)])[0]
    point = torch.nn.Parameter(torch.tensor(valley.START, dtype=torch.float64))
    optimizer = torch.optim.SGD([point], lr=0.01, momentum=0.9)
    expected = [point.detach().numpy().copy()]
    for _ in range(20):
        optimizer.zero_grad()
        (point[0] ** 2 / 2 + 50 * point[1] ** 2).backward()
        optimizer.step()
        expected.append(point.detach().numpy().copy())
    np.testing.assert_allclose(path, expected, rtol=1e-12)


def test_heights_leave_the_noise_out() -> None:
    places = np.array([[[0.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [2.0, -1.0]]])
    found = paths.heights(saddle.build("saddle", 5.0), places)
    np.testing.assert_allclose(found, [[-0.25, 0.0], [0.5, 1.75]])


def test_a_constant_lr_bounces_at_its_threshold_and_creeps_below() -> None:
    found = {one.lr: one for one in constant_lr.measure(QUICK, QUIET)}
    assert found[0.0005].cosine > 0.99
    assert found[0.0005].steps is None
    assert found[0.0199].cosine < -0.95
    assert found[0.02].sharpness == pytest.approx(1)
    assert found[0.02].across == pytest.approx(0.5)
    assert found[0.0202].across > 1
    text = constant_lr.section(list(found.values()))
    assert "From 0.995 of the threshold on" in text
    assert "|y| stays 0.5 for ever" in text


def test_the_burst_comes_after_the_sharpness_has_passed_its_threshold() -> None:
    found = running_mean.measure(Scale(0.5), QUIET)
    constant, warm, linear, root = found
    for one in (constant, warm, linear):
        assert one.crossing is not None
        assert one.burst is not None
        assert one.crossing < one.burst
    assert warm.burst > 3 * constant.burst
    assert root.burst is None
    assert root.sharpness.max() < 1
    assert "Decay, 1 / sqrt(t + 1) has no burst" in running_mean.section(found)


def test_the_mean_with_that_decay_is_adagrad() -> None:
    path, _ = running_mean.descend(running_mean.SHAPES["decay, 1 / sqrt(t + 1)"], 0.3, 100)
    order = Order({"optimizer": "adagrad", "lr": 0.3}, 100)
    np.testing.assert_allclose(path, paths.follow(valley.build(), [order])[0], atol=1e-12)


def test_sigma_is_the_root_of_the_mean() -> None:
    path, sigma = running_mean.descend(running_mean.SHAPES["constant"], 0.3, 30)
    gradient = path[:-1] * [1, constant_lr.STEEPNESS]
    mean = np.cumsum(gradient**2, axis=0) / np.arange(1, 31)[:, None]
    np.testing.assert_allclose(sigma, np.sqrt(mean), rtol=1e-9)
    np.testing.assert_allclose(-np.diff(path, axis=0), 0.3 * gradient / np.sqrt(mean), rtol=1e-6)


def test_the_factor_of_the_slip_is_what_the_formulas_of_the_notes_give() -> None:
    beta, alpha, gradients = slips.BETA, slips.ALPHA, np.ones(50)
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        m, v = beta * m + (1 - beta) * g, alpha * v + (1 - alpha) * g**2
        notes = (m / (1 - beta)) / np.sqrt(v / (1 - alpha))
        right = (m / (1 - beta**t)) / np.sqrt(v / (1 - alpha**t))
        assert slips.correction_slip(np.array([t]))[0] == pytest.approx(notes / right)


def test_slips() -> None:
    found = slips.measure(Scale(0.2), QUIET)
    assert found.apart < 1e-12
    along, across = found.shares
    assert across < along
    assert "lr is 10 times too large" in slips.section(found).replace("\n", " ")


def test_the_best_lr_is_there_first_for_good() -> None:
    def walk(lr: float, loss: list[float]) -> optimizers.Walk:
        return optimizers.Walk("SGD", lr, np.zeros((len(loss), 2)), np.array(loss))

    there, again, never = walk(1, [1, 1, 0, 0]), walk(2, [1, 0, 1, 1]), walk(3, [1, 1, 1, 0.5])
    assert (there.first, there.steps) == (2, 2)
    assert (again.first, again.steps) == (1, None)
    assert optimizers._best([again, never, there]) is there
    assert optimizers._best([again, never]) is never
    assert optimizers._best([walk(4, [1, np.nan]), again]) is again


def test_the_picture(tmp_path) -> None:  # type: ignore[no-untyped-def]
    found = optimizers.measure(QUICK, QUIET)
    optimizers.draw(found, tmp_path)
    running_mean.draw(running_mean.measure(QUICK, QUIET), tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == {optimizers.FIGURE, running_mean.FIGURE}
    text = optimizers.section(found)
    assert all(f"| {name} |" in text for name in (*optimizers.OPTIMIZERS, optimizers.MEAN))
    bouncing = found.wrong[0]
    assert paths.cosines(bouncing.path).mean() < -0.9


def test_who_leaves_the_saddle_first() -> None:
    found = escape.measure(Scale(0.15), QUIET)
    median = {(one.name, one.case): one.median for one in found}
    for case in escape.CASES:
        assert median["Adam", case] < median["SGD", case]
        assert median["SGD, momentum 0.9, same lr", case] < median["SGD", case]
    text = escape.section(found)
    assert "That Adam leaves a saddle faster than SGD is reproduced on all three." in text


def test_two_minima_from_both_sides() -> None:
    task = saddle.build("two_minima", 20.0)
    assert task.initial(3).point[1] < 0 < flat_minima._mirrored(task).initial(3).point[1]
    found = flat_minima.measure(QUICK, QUIET, noises=(20.0,))
    assert [one.name for one in found] == list(flat_minima.SETTINGS)
    assert {one.runs for one in found} == {3}
    still = next(one for one in found if one.name == "Adam, lr 0.03")
    assert (still.wide, still.narrow) == (0, 0)
    assert "Adam, lr 0.03: stays where it starts." in flat_minima.section(found)


def test_the_verdict_on_flat_minima() -> None:
    def said(adai: float, adam: float) -> str:
        gains = {"sgd": 0.5, "adai": adai, "adaiw": adai, "adam": adam}
        return flat_minima._verdict(
            [
                flat_minima.Shares(name, 10.0, 0.4 + gains[str(config["optimizer"])], 0.4, 64, 1)
                for name, config in flat_minima.SETTINGS.items()
            ]
        )

    assert "as SGD does is reproduced, that Adam is less selective is." in said(0.5, 0.1)
    assert "as SGD does is **not** reproduced" in said(0.1, 0.1)
    assert "less selective is **not**" in said(0.5, 0.45)
