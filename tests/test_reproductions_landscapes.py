"""The part `landscapes` of docs/reproductions.md, at a small scale."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reproductions.landscapes import (
    constant_lr,
    escape,
    flat_minima,
    optimizers,
    paths,
    running_mean,
    slips,
)
from reproductions.progress import Progress
from reproductions.runs import Order
from reproductions.scale import Scale
from sweeper.tasks.bundled import saddle, valley

QUICK, QUIET = Scale(0.05, compiled=False), Progress(quiet=True)


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
    # y goes through 0: its rounding errors are those of the places before, of size 0.5, so that
    # near 0 no relative error is small.
    np.testing.assert_allclose(path, expected, rtol=1e-12, atol=1e-15)


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
    assert "First at 0.001" not in text
    assert "At 0.995, 1.000 and 1.010 of the threshold the updates turn round" in text
    assert "|y| doesn't shrink (0.5)" in text


def test_the_burst_comes_after_the_sharpness_has_passed_its_threshold() -> None:
    found = running_mean.measure(Scale(0.5), QUIET)
    constant, warm, linear, root = found
    for one in (constant, warm, linear):
        assert one.crossing is not None
        assert one.bursts is not None
        assert one.crossing < one.bursts[0]
    assert warm.bursts[0] > 3 * constant.bursts[0]
    assert linear.bursts[1] < 200 < constant.bursts[1]
    assert root.bursts is None
    assert root.sharpness.max() < 1
    text = running_mean.section(found)
    assert "Decay, 1 / sqrt(t + 1): no burst within 300 steps." in text
    assert f"last across at step {linear.bursts[1]} of 300, so the bursts end." in text
    assert f"last across at step {warm.bursts[1]} of 300" in text


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


@pytest.mark.parametrize(("last", "says"), [(1.0, "reproduced"), (0.0, "**not** reproduced")])
def test_who_shakes_at_the_goal(last: float, says: str) -> None:
    path, loss = np.zeros((41, 2)), np.zeros(41)
    path[0, 1], path[20, 1], loss[0], loss[-2] = 0.5, 0.2, 1.0, last
    said = optimizers._story([optimizers.Walk("RMSProp", 0.1, path, loss)])
    assert f"shakes there: {says}." in said
    assert "Across again, beyond 0.01: RMSProp." in said
    assert f"for good, in {40 if last else 1} steps" in said


def test_the_picture(tmp_path: Path) -> None:
    on_valley = optimizers._on_valley(60)
    # Any paths are as good to draw.
    found = optimizers.Walks(on_valley, optimizers._wrong(), on_valley)
    optimizers.draw(found, tmp_path)
    running_mean.draw(running_mean.measure(QUICK, QUIET), tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == {optimizers.FIGURE, running_mean.FIGURE}
    text = optimizers.section(found)
    assert all(f"| {name} |" in text for name in (*optimizers.OPTIMIZERS, optimizers.MEAN))
    bouncing = found.wrong[0]
    assert paths.cosines(bouncing.path).mean() < -0.9


def test_who_leaves_the_saddle_first() -> None:
    noisy = escape._escapes("noise 0.1", QUICK)
    median = {one.name: one.median for one in noisy}
    assert median["Adam"] < median["SGD"] < median["SGD, momentum 0.9, lr x (1 - 0.9)"] < np.inf
    assert median["SGD, momentum 0.9, same lr"] < median["SGD"]
    text = escape.section([replace(one, case=case) for case in escape.CASES for one in noisy])
    assert "That Adam leaves a saddle faster than SGD is reproduced on all of them." in text
    assert "What momentum gains here is its 10 times longer step." in text
    assert "Adam is out before it is down (noise 0.1; " in text


def test_shares_where_a_run_stays() -> None:
    def escapes(name: str, *medians: float) -> list[escape.Escapes]:
        pairs = zip(escape.CASES, medians, strict=True)
        return [escape.Escapes(name, case, np.array([median]), 1.0) for case, median in pairs]

    found = escapes("a", 10, 10, np.inf) + escapes("b", 40, np.inf, np.inf)
    np.testing.assert_equal(escape._shares(found, "a", "b"), [0.25, 0, np.nan])
    np.testing.assert_equal(escape._shares(found, "b", "a"), [4, np.inf, np.nan])
    assert "reproduced on noise 0.1; no noise." in escape._fast(found, "a", "b")
    assert "**not** reproduced on any" in escape._fast(found, "b", "a")


def test_the_variance_of_the_flat_saddle_follows_its_curvature() -> None:
    variance = escape.flat_saddle().data[0].square().mean(0)
    assert variance[1] / variance[0] == pytest.approx(0.1)
    height = paths.heights(escape.flat_saddle(), np.array([[0.0, -1e-2], [1e-2, 0], [0, 0]]))
    assert (height[0] - height[2]) / (height[1] - height[2]) == pytest.approx(-0.1, rel=1e-3)


def test_two_minima_from_both_sides() -> None:
    task = saddle.build("two_minima", 0.1)
    assert task.initial(3).point[1] < 0 < flat_minima._mirrored(task).initial(3).point[1]
    # With hardly any noise all stay whose steps are short.
    for start, built in ((-1, task), (1, flat_minima._mirrored(task))):
        ends = flat_minima._ended(built, 100, range(3), QUICK)
        assert list(ends) == list(flat_minima.SETTINGS)
        for name in ("SGD", "SGD, momentum 0.9", "Adai", "Adam, lr 0.03"):
            np.testing.assert_allclose(ends[name], [start] * 3, atol=0.2)


def test_how_selective_one_is() -> None:
    def said(wide: float, narrow: float, runs: int = 64) -> str:
        return flat_minima._told("A", [flat_minima.Shares("A", 5.0, wide, narrow, runs, 1)])

    assert said(0.02, 0.0) == "A: stays where it starts."
    assert said(0.5, 0.4) == "A: no preference that 64 runs could tell."
    assert said(0.4, 0.9) == "A: no preference that 64 runs could tell."
    assert "at noise 5, where 50% leave the narrow minimum and 40% the wide" in said(0.5, 0.4, 999)


def test_the_sharpness_of_the_two_minima() -> None:
    # Of 1 - exp(-(y / w)^2) it is 2 / w^2.
    assert flat_minima._sharpness(-1.0) == pytest.approx(2 / 0.12**2, rel=1e-3)
    assert flat_minima._sharpness(1.0) == pytest.approx(2 / 0.6**2, rel=1e-3)


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
