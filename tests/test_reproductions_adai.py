"""The part `adai` of docs/reproductions.md, at a small scale."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reproductions.adai import claims, grid, part
from reproductions.adai.best import Best
from reproductions.progress import Progress
from reproductions.runs import Order, train
from reproductions.scale import Scale
from sweeper.tasks.bundled import digits_cnn
from sweeper.tasks.layout import Layout

QUICK = Scale(0.05, compiled=False)
_WHOLE = digits_cnn.build(channels=2, batch_size=16)
TASK = replace(_WHOLE, data=tuple(part[:160] for part in _WHOLE.data))


def test_the_part_at_a_small_scale(tmp_path: Path) -> None:
    rules = [replace(rule, lrs=(1e-6, 0.5), decays=(1e-4, 1e-2)) for rule in grid.RULES[2:]]
    found = part.measure(QUICK, Progress(quiet=True), TASK, rules)
    for one, best in zip(found.grids, found.best, strict=True):
        assert one.best[0] == 1
        assert one.accuracy[0, 1].max() > one.accuracy[0, 0].max() + 0.1
        assert best.accuracy.shape == best.curvature.shape == (1,)
        assert best.curvature[0] > 0
    # Runs of sgd and adam would take most of the time: these stand in for them.
    stand_ins = [
        replace(one, rule=replace(one.rule, name=name))
        for one, name in zip(found.grids, ("sgd", "adam"), strict=True)
    ]
    found = part.Measured([*stand_ins, *found.grids], found.best * 2)
    part.draw(found.grids, tmp_path)
    assert (tmp_path / part.FIGURE).stat().st_size > 10_000
    text = part.section(found, QUICK)
    assert re.findall(r"^##+ .*$", text, re.MULTILINE) == list(part.HEADINGS)
    assert text.count("| 0 of 1 |") == 4
    assert "All best cells hold" in text
    # One seed decides nothing.
    assert text.count(f"**{claims.OPEN}**") == 9


@pytest.mark.parametrize(
    ("rule", "torch_class", "lr", "settings"),
    [("sgd", torch.optim.SGD, 0.05, {"momentum": 0.9}), ("adam", torch.optim.Adam, 2e-3, {})],
)
def test_a_cell_is_that_of_torch(
    rule: str, torch_class: Any, lr: float, settings: dict[str, float]
) -> None:
    chosen = next(one for one in grid.RULES if one.name == rule)
    decay, steps, seed = 0.1, 40, 2
    order = Order(chosen.config(lr, decay), steps, seed, looks=(steps,))
    found = train(TASK, [order], dtype="float64", compiled=False)[0]
    model = TASK.initial(seed).double()
    optimizer = torch_class(model.parameters(), lr, weight_decay=decay, **settings)
    for step in range(steps):
        inputs, targets = TASK.batch(seed, step)
        optimizer.zero_grad()
        TASK.loss(model(inputs.double()), targets).backward()
        optimizer.step()
    theta = Layout.of(model).flatten(model)
    assert torch.allclose(found.rows[steps]["theta"], theta, rtol=1e-8, atol=1e-12)
    assert TASK.evaluate is not None
    assert found.metrics == pytest.approx(dict(TASK.evaluate(model.eval())))


def made(name: str, *accuracy: list[list[float]]) -> grid.Grid:
    """A grid of 3 lr around 1 and 2 decays, by seed."""
    rule = grid.Rule(name, (0.1, 1.0, 10.0), decays=(1e-4, 1e-2))
    values = np.array(accuracy)
    return grid.Grid(rule, values, 1 - values)


def test_a_best_cell_that_fails_on_fresh_seeds_is_told() -> None:
    values = np.ones(3)
    best = [Best(values, values, values, values > 2) for _ in range(2)]
    best[1] = replace(best[1], failed=np.array([True, False, True]))
    said = part._lucky(part.Measured([made("sgd", WIDE[0]), made("adai", WIDE[0])], best))
    assert "with Adai (2 of 3)" in said
    assert "SGD" not in said


def test_good_cells() -> None:
    seed = [[0.90, 0.94], [0.95, 0.9401], [0.3, 0.93]]
    one = made("sgd", seed, [[0.9, 0.94], [0.95, 0.9401], [0.3, 0.95]])
    assert one.basin.tolist() == [[False, True], [True, True], [False, True]]
    assert one.basins.sum((1, 2)).tolist() == [3, 4]
    assert one.setting == (1.0, 1e-4)
    assert grid.decades(one.basins[0]) == pytest.approx(2 / 3)
    assert one.centres()[0] == pytest.approx(10 ** (-1 / 3))


@pytest.mark.parametrize(
    ("place", "touches"), [((1, 1), False), ((0, 1), True), ((1, 0), True), ((1, 2), True)]
)
def test_good_cells_at_an_edge(place: tuple[int, int], touches: bool) -> None:
    accuracy = np.full((1, 3, 3), 0.5)
    accuracy[0][place] = 0.9
    rule = grid.Rule("sgd", (0.1, 1.0, 10.0), decays=(1e-4, 1e-3, 1e-2))
    assert grid.Grid(rule, accuracy, 1 - accuracy).touches_edge is touches


def test_of_equally_good_cells_the_one_with_the_lower_loss_is_best() -> None:
    one = made("sgd", [[0.9, 0.9], [0.9, 0.5], [0.5, 0.5]])
    loss = np.array([[[0.3, 0.2], [0.4, 0.0], [0.0, 0.0]]])
    assert replace(one, held_out_loss=loss).best == (0, 1)


NARROW = ([[0.5, 0.5], [0.9, 0.5], [0.5, 0.5]],) * 2
WIDE = ([[0.9, 0.9], [0.9, 0.5], [0.5, 0.5]],) * 2
MIXED = (NARROW[0], WIDE[0])


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (WIDE, NARROW, claims.YES),
        (NARROW, WIDE, claims.NO),
        (MIXED, NARROW, claims.OPEN),
        (WIDE[:1], NARROW[:1], claims.OPEN),
    ],
)
def test_more_good_cells(ours: Any, theirs: Any, verdict: str) -> None:
    assert claims._wider("", made("adai", *ours), made("sgd", *theirs)).verdict == verdict


@pytest.mark.parametrize(
    ("factor", "flatter", "as_flat"),
    [
        (0.5, claims.YES, claims.YES),
        (1.0, claims.OPEN, claims.YES),
        (1.2, claims.NO, claims.OPEN),
        (2.0, claims.NO, claims.NO),
    ],
)
def test_flatness(factor: float, flatter: str, as_flat: str) -> None:
    values = np.array([1.0, 1.01, 0.99, 1.02, 0.98])
    other = Best(values, values, values, values > 2)
    one = replace(other, curvature=factor * values)
    assert claims._flatter("", one, other).verdict == flatter
    assert claims._as_flat("", one, other).verdict == as_flat


def test_means_apart_by_three_standard_errors_count() -> None:
    values = np.array([0.0, 1.0, -1.0])  # a standard error of sqrt(1 / 3)
    error = np.sqrt(2 / 3)
    assert claims.difference(values + 1, values) == pytest.approx((1.0, error))
    assert claims.higher(values + 3.1 * error, values) == claims.YES
    assert claims.higher(values - 3.1 * error, values) == claims.NO
    assert claims.higher(values + 2.9 * error, values) == claims.OPEN


@pytest.mark.parametrize(
    ("middles", "verdict"),
    [((0, 0), claims.NO), ((1, 1), claims.YES), ((0, 1), claims.OPEN)],
)
def test_ten_times_the_lr(middles: tuple[int, int], verdict: str) -> None:
    def at(place: int) -> list[list[float]]:
        return [[0.9 if row == place else 0.5, 0.5] for row in range(3)]

    sgd = made("sgd", at(0), at(0))
    assert claims._ten_times(made("adai", *map(at, middles)), sgd).verdict == verdict
