"""The part `lr_sensitivity` of docs/reproductions.md, at a small scale."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from reproductions.lr_sensitivity import part
from reproductions.lr_sensitivity.curves import SETTINGS, Curve, Setting, measure
from reproductions.lr_sensitivity.effects import Effect, effects
from reproductions.progress import Progress
from reproductions.runs import Order, train
from reproductions.scale import Scale
from sweeper.tasks.bundled import char_lm

QUICK = Scale(0.05, compiled=False)
LRS = (1e-3, 1e-2, 1.0)
TASK = char_lm.build(width=8, layers=1, length=8, batch_size=4)


def test_the_part_at_a_small_scale(tmp_path: Path) -> None:
    curves = measure(TASK, QUICK, Progress(quiet=True), SETTINGS[:5], LRS)
    for curve in curves:
        costs = np.minimum(curve.loss, curve.first)[0]
        by_hand = (costs - costs.min()).sum() / len(LRS)
        assert curve.sensitivity == pytest.approx([by_hand])
        assert sum(curve.parts()) == pytest.approx(by_hand)
    entropy = part.entropy_of(TASK)
    part.draw(curves, entropy, tmp_path)
    assert (tmp_path / part.FIGURE).stat().st_size > 10_000
    text = part.section(curves, entropy, QUICK)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| constant")]
    assert [row[6] for row in rows] == [f"**{c.sensitivity[0]:.3f}**" for c in curves]
    # One seed decides nothing.
    assert text.count("lower in 0, higher in 0 of") == 3
    assert "**not decided by the spread**" in text


@pytest.mark.parametrize("setting", [Setting("constant", 0.1, 1e-3, 0.95), Setting("cosine")])
def test_a_run_is_that_of_torch_with_the_same_batches(setting: Setting) -> None:
    steps, seed = 40, 3
    order = Order(setting.config(0.03), steps, seed)
    found = train(TASK, [order], dtype="float64", compiled=False)[0].loss
    model = TASK.initial(seed).double()
    adam = torch.optim.Adam(model.parameters(), 0.03, betas=(0.9, setting.beta2), eps=setting.eps)
    factors = [1.0] * steps
    if setting.warmup:
        factors[:4] = [0.25, 0.5, 0.75, 1.0]
    if setting.schedule == "cosine":
        factors = [(1 + np.cos(np.pi * step / steps)) / 2 for step in range(steps)]
    expected = []
    for step, factor in enumerate(factors):
        adam.param_groups[0]["lr"] = 0.03 * factor
        inputs, targets = TASK.batch(seed, step)
        adam.zero_grad()
        loss = TASK.loss(model(inputs), targets)
        loss.backward()
        adam.step()
        expected.append(loss.item())
    assert found == pytest.approx(expected, rel=1e-9)
    assert expected[-1] < expected[0] - 0.5


def test_the_entropy_of_characters() -> None:
    task = replace(TASK, batch_size=None, data=(torch.zeros(2, 2), torch.tensor([[0, 1], [1, 1]])))
    assert part.entropy_of(task) == pytest.approx(-0.25 * np.log(0.25) - 0.75 * np.log(0.75))


def test_a_diverged_run_costs_the_first_loss() -> None:
    loss = np.array([[1.0, 0.5, np.nan, 9.0]])
    curve = Curve(
        Setting(), np.array([0.1, 0.2, 0.3, 0.4]), loss, np.full((1, 4), 2.0), loss[:, 0]
    )
    assert curve.costs.tolist() == [[1.0, 0.5, 2.0, 2.0]]
    assert curve.best == 1
    assert curve.parts() == pytest.approx((0.5 / 4, 3.0 / 4))


@pytest.mark.parametrize(
    ("changes", "lower", "higher", "verdict"),
    [
        ([[-0.5, -0.49], [-0.3, -0.31], [0.0, 0.01]], 2, 0, "reproduced"),
        ([[0.5, 0.49], [0.3, 0.31], [-0.01, 0.0]], 0, 2, "not reproduced: it is the other way"),
        ([[-0.5, 0.5], [-0.1, 0.3], [0.2, -0.1]], 0, 0, "not decided by the spread"),
        ([[-0.5, -0.49], [0.3, 0.31], [0.0, 0.01]], 1, 1, "reproduced in some pairs only"),
        ([[-0.5], [-0.3], [-0.4]], 0, 0, "not decided by the spread"),
    ],
)
def test_verdicts(changes: list[list[float]], lower: int, higher: int, verdict: str) -> None:
    effect = Effect("warmup", np.array(changes), (Setting(),) * 3)
    assert (effect.lower, effect.higher) == (lower, higher)
    assert effect.verdict.startswith(verdict)


def test_pairs_differ_in_the_factor_alone() -> None:
    numbers = {setting: float(i) for i, setting in enumerate(SETTINGS)}
    blank = partial(Curve, lrs=np.ones(1), loss=np.ones((1, 1)), first=np.ones((1, 1)))
    curves = [blank(setting=s, sensitivity=np.array([n])) for s, n in numbers.items()]
    found = {one.factor: one for one in effects(curves)}
    assert [len(one.settings) for one in found.values()] == [8] * 4
    warmup = found["warmup"]
    for setting, change in zip(warmup.settings, warmup.changes[:, 0], strict=True):
        assert change == numbers[replace(setting, warmup=0.1)] - numbers[setting]
