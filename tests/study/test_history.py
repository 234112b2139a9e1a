"""A bounded history of TPE: below it what Optuna draws, above it the same after restarts."""

from __future__ import annotations

import random

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from test_samplers import FRONT, SPACE, Sweep

from sweeper.ranking.objectives import DEFAULT
from sweeper.study import history
from sweeper.study.search import Search
from sweeper.study.tpe_sampler import KnownSpaceTPE


class BoundedSweep(Sweep):
    """A search that shows TPE so many told trials."""

    most = 30

    def new_search(self) -> Search:
        return Search(SPACE, self.sampler, self.seed, self.objectives, most=self.most)


@pytest.mark.parametrize("objectives", [DEFAULT, FRONT], ids=["one", "several"])
def test_it_proposes_what_optuna_does(objectives: object, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Sweep("tpe", objectives=objectives).run(70, n_open=9)
    monkeypatch.setattr(KnownSpaceTPE, "_sample", optuna.samplers.TPESampler._sample)
    optunas = Sweep("tpe", objectives=objectives).run(70, n_open=9)
    assert [t.draws for t in ours.trials] == [t.draws for t in optunas.trials]


def test_below_the_bound_it_makes_no_difference_and_above_it_does() -> None:
    bounded, whole = BoundedSweep("tpe").run(90), Sweep("tpe").run(90)
    draws = [[t.draws for t in sweep.trials] for sweep in (bounded, whole)]
    # Four trials are open, and some are given up: with 36 asked for no more than 30 are told.
    assert draws[0][:34] == draws[1][:34]
    assert draws[0] != draws[1]


def test_a_search_that_forgot_proposes_what_a_rebuilt_one_does() -> None:
    whole, broken = BoundedSweep("tpe").run(200), BoundedSweep("tpe")
    for stop in range(0, 201, 23):
        broken.run(stop)
        broken.restart()
    broken.run(200)
    assert [t.draws for t in whole.trials] == [t.draws for t in broken.trials]
    kept = whole.search._study.get_trials(deepcopy=False)
    assert len(kept) <= 2 * BoundedSweep.most + 20 < 200


def test_what_is_left_out_never_comes_back() -> None:
    """So leaving it out on the way changes nothing, in whatever order trials are told."""
    rng = random.Random(0)
    trials = [told(number, rng) for number in range(400)]
    whole = history.shown(trials, 40, StudyDirection.MINIMIZE)
    for _ in range(5):
        kept: list[FrozenTrial] = []
        for trial in rng.sample(trials, len(trials)):
            kept = sorted([*kept, trial], key=lambda one: one.number)
            if len(kept) > 80:
                kept = history.shown(kept, 40, StudyDirection.MINIMIZE)
        kept = history.shown(kept, 40, StudyDirection.MINIMIZE)
        assert [t.number for t in kept] == [t.number for t in whole]


@pytest.mark.parametrize("direction", [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE])
def test_the_best_and_an_even_sample_of_the_others(direction: StudyDirection) -> None:
    rng = random.Random(1)
    trials = [told(number, rng) for number in range(1024)]
    shown = history.shown(trials, 256, direction)
    assert len(shown) == 256
    feasible = [t for t in trials if t.constraints["stability"] <= 0 and t.value is not None]
    sign = 1 if direction == StudyDirection.MINIMIZE else -1
    best = sorted(feasible, key=lambda t: (sign * (t.value or 0.0), t.number))[:64]
    assert {t.number for t in best} <= {t.number for t in shown}
    others = sorted({t.number for t in shown} - {t.number for t in best})
    per_quarter = [sum(n // 256 == quarter for n in others) for quarter in range(4)]
    assert min(per_quarter) > 0.7 * max(per_quarter), per_quarter


def told(number: int, rng: random.Random) -> FrozenTrial:
    trial = create_trial(
        state=TrialState.COMPLETE,
        value=rng.choice([rng.random(), 0.5, float("inf")]),
        constraints={"stability": rng.choice([-1.0, 0.0, rng.random()])},
        user_attrs={history.NUMBER: number},
    )
    trial.number = number
    return trial
