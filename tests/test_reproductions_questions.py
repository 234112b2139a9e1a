"""The parts multitask, workflow and policies of docs/reproductions.md, at a small scale."""

import math
from dataclasses import replace

import numpy as np
import pytest

from reproductions import picks, wording
from reproductions.multitask import grid
from reproductions.multitask import part as multitask
from reproductions.policies import part as policies
from reproductions.policies import searches
from reproductions.progress import Progress
from reproductions.runs import Order, Outcome, train
from reproductions.scale import Scale
from reproductions.stability import problem
from reproductions.workflow import courses
from reproductions.workflow import part as workflow
from sweeper.optim.configuration import parse
from sweeper.stability.sharpness import Probe
from sweeper.tasks.bundled import digits_cnn

QUIET = Progress(quiet=True)
ADAM = {"optimizer": "adam", "lr": 1e-2}


def test_a_run_goes_on_from_its_state_as_if_nothing_had_been() -> None:
    task = replace(problem.task(0), batch_size=16, packed_loss=None)
    # Two runs as below: bits are the same at the same capacity only.
    whole, _ = train(
        task, [Order(ADAM, 120, seed, looks=(40,)) for seed in (3, 5)], compiled=False
    )
    start = whole.rows[40]
    again = [Order(ADAM, 80, seed=seed, start=start, looks=(80,)) for seed in (3, 4)]
    same, other = train(task, again, compiled=False)
    assert np.array_equal(same.loss, whole.loss[40:])
    assert same.loss[0] != other.loss[0]  # other batches from the first step on
    assert int(same.rows[80]["step"]) == 120


def test_multitask_at_a_small_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"SIZE": 4, "CHANNELS": 2, "PROBED": 240, "LOOKS": (0.5, 1.0)}
    for name, value in small.items():
        monkeypatch.setattr(grid, name, value)
    scale = Scale(0.01, compiled=False)
    cells = grid.measure(scale, QUIET, {1e-4: (1e-4, 1e-3), 1e-5: (1e-4,)})
    assert [(cell.lr, cell.eps) for cell in cells] == [(1e-4, 1e-4), (1e-4, 1e-3), (1e-5, 1e-4)]
    # A tenth of lr is a tenth of S as long as the network is where it began.
    first = min(cells[1].sharpness)
    assert cells[2].sharpness[first] < 0.3 * cells[0].sharpness[first]
    again = grid.restart(cells, scale, QUIET)
    assert again.step == 100
    assert [one.order.seed for one in again.outcomes] == [1]
    assert again.cell is max(cells, key=lambda cell: cell.outcome.verdict["draw_up"])
    text = multitask.section(cells, again)
    assert text.count("(asked)") == 1
    # 1,800 images in batches of 200: a mean of nine losses.
    loss = cells[1].outcome.loss
    means = [loss[max(0, i - 8) : i + 1].mean() for i in range(loss.size)]
    assert f"| 0.0001 | 0.001 | {means[49]:.3g} | {min(means):.3g} |" in text


def test_policies_on_one_task() -> None:
    scale = Scale(0.05, compiled=False)
    found = searches.measure(scale, QUIET, [searches.Problem("small", "perceptron", 5_000, 64)])
    assert [one.policy for one in found] == list(picks.POLICIES)
    assert {one.outcomes[0].order.horizon for one in found} == {4 * 240}
    assert all(one.outcomes[0].order.seed == 100 for one in found)
    robust = found[-1]
    tail = robust.outcomes[0].verdict["tail_loss"]
    text = policies.section(found)
    assert f"| 0 of 1 fail, {wording.loss(tail)}" in text
    # It counts what fails, whatever ranking picked it.
    bad = replace(robust.outcomes[0], verdict={**robust.outcomes[0].verdict, "failed": True})
    text = policies.section([*found[:-1], replace(robust, outcomes=[bad])])
    assert "**1 of 1 fail**" in text
    assert "| **failed runs** | 0 of 1 | 0 of 1 | 0 of 1 | 0 of 1 | 1 of 1 |" in text
    assert "by sweeper on small." in text


def test_multitask_says_who_is_slow_and_who_breaks() -> None:
    def cell(eps: float, loss: np.ndarray, onset: int | None) -> grid.Cell:
        config = {"optimizer": "adam", "lr": 1e-4, "eps": eps, "eps_hat": True}
        verdict = {"failed": onset is not None, "onset_step": onset, "draw_up": 0.1,
                   "tail_loss": 1.0, "upward_spike_score": 0.0}  # fmt: skip
        outcome = Outcome(Order(config, loss.size), parse(config), loss, verdict, {}, {})
        return grid.Cell(1e-4, eps, outcome, {100: 0.5})

    fall = np.geomspace(2, 0.1, 200)
    cells = [
        cell(1e-4, fall, None),
        cell(1e-1, np.full(200, 2.0), 20),
        cell(1e-8, np.append(fall[:150], np.full(50, 3.0)), 150),
    ]
    text = multitask.section(cells, grid.Restart(cells[0], 100, [cells[0].outcome]))
    assert "1 of 3 settings go wrong: lr 0.0001, eps 1e-08 at step 150." in text
    assert "That lr 0.0001, eps 0.1 fail by the verdict says that they are slow" in text
    assert (text.count("| **fails** |"), text.count("| fails (slow) |")) == (1, 1)
    text = multitask.section(cells[:2], grid.Restart(cells[0], 100, [cells[0].outcome]))
    assert "**Not reproduced.** None of the 2 settings" in text


def test_sharpness_is_a_share_of_the_threshold_of_adam() -> None:
    config = {"optimizer": "adam", "lr": 1e-4}
    outcome = Outcome(Order(config, 100), parse(config), np.ones(100), {}, {50: {}}, {})
    # (2 + 2 beta1) / (1 - beta1) = 38.
    assert grid._sharpness(outcome, lambda *_: Probe(50, 19.0)) == {50: pytest.approx(0.5)}


def test_every_method_has_its_own_runs() -> None:
    configs = [{**ADAM, "lr": lr, "schedule": {"kind": "constant"}} for lr in (1e-9, 1e-2)]
    bests = [(f"lr {i}", None, 1, config) for i, config in enumerate(configs)]
    still, learns = courses.methods(bests, (20, 60), (7, 8), Scale(1.0, compiled=False))
    assert (still.name, learns.name) == ("lr 0", "lr 1")
    assert still.accuracy[20].tolist() == still.accuracy[60].tolist()
    assert (learns.accuracy[60] > 0.5).all()
    alone = train(digits_cnn.build(), [Order(configs[1], 60, 8)], compiled=False)[0]
    assert learns.accuracy[60][1] == pytest.approx(alone.metrics["held_out_accuracy"], abs=0.01)
    assert learns.loss[60][1] == pytest.approx(alone.verdict["tail_loss"], rel=1e-3)


def _method(name: str, accuracy: dict[int, float], **config: object) -> courses.Method:
    optimizer, _, schedule = name.partition(" ")
    whole = {"optimizer": optimizer, "schedule": {"kind": schedule}, "lr": 0.1, **config}
    seeds = np.array([-0.001, 0.001])
    return courses.Method(
        name, 1, 3, whole,
        {steps: value + seeds for steps, value in accuracy.items()},
        {steps: np.array([0.1, math.inf]) for steps in accuracy},
    )  # fmt: skip


def test_the_workflow_says_who_is_faster() -> None:
    joke = replace(_method("adam constant", {100: 0.5, 400: 0.9}), name=courses.JOKE, rank=None)
    fast = _method("sgdw onecycle", {100: 0.95, 400: 0.97})
    slow = _method("sgdw constant", {100: 0.80, 400: 0.94})
    text = workflow.section([joke, fast, slow])
    assert "reached by sgdw onecycle with 100 steps (4 times fewer)" in text
    assert "by sgdw constant with as many." in text
    assert (
        "within a standard deviation of that with 400 steps; 1cycle is with 100: 4 times" in text
    )
    assert "95.0 ± 0.1; no tail" in text  # a run has none
    late = _method("sgdw onecycle", {100: 0.79, 400: 0.95})
    text = workflow.section([joke, late, slow])
    assert "1cycle is with 400, no fewer, so it isn't shown." in text
    text = workflow.section([joke, _method("sgdw onecycle", {100: 0.1, 400: 0.2}), slow])
    assert "Not reached by sgdw onecycle." in text
    assert "1cycle is at no horizon" in text
    near, equal = (_method(f"sgdw {name}", {100: accuracy, 400: 0.94}) for name, accuracy in
                   (("constant", 0.9385), ("onecycle", 0.9395)))  # fmt: skip
    text = workflow.section([joke, equal, near])
    assert "is with 100, but there the two differ by no more than their seeds do." in text
    # A constant lr that is there as early leaves nothing to be shown.
    text = workflow.section([joke, fast, _method("sgdw constant", {100: 0.94, 400: 0.94})])
    assert "1cycle is with 100, no fewer" in text
