"""Every sampler on a synthetic problem: the same after a restart, and better than chance.

Four trials are always open, as in a sweep; the one told first was asked for first, or last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sweeper.ranking.objectives import DEFAULT, ROBUST_LOSS, Objective
from sweeper.space import Choice
from sweeper.space_parser import parse_space
from sweeper.study.database import COMPLETE, FAIL, RUNNING, Trial
from sweeper.study.samplers import ADAPTIVE
from sweeper.study.search import Search, told

SAMPLERS = ("tpe", "gp", "nsga2", "cmaes", "qmc", "random")
# gp takes a fifth of a second a trial, after ten of chance.
TRIALS = {"gp": 24}
SPACE = parse_space(
    {
        "lr": {"log_uniform": [1e-5, 1e-1]},
        "beta2": {"one_minus_log_uniform": [1e-4, 0.2]},
        "eps": {"log_uniform": [1e-10, 1.0]},
        "amsgrad": {"choice": [False, True]},
        "schedule": {"choice": {"constant": {}, "cosine": {"final": {"uniform": [0.0, 1.0]}}}},
    }
)
EVERY = {parameter.name: parameter for parameter in SPACE.flat()}
FRONT = (ROBUST_LOSS, Objective("accuracy", "maximize"))
Judge = Callable[[dict[str, Any]], dict[str, Any]]


def quadratic(draws: dict[str, Any]) -> dict[str, Any]:
    """Best at lr 3e-3, 1 - beta2 1e-2, eps 1e-3 and the cosine to 0; everything holds."""
    loss = (math.log10(draws["lr"]) + 2.5) ** 2 + (math.log10(draws["beta2"]) + 2) ** 2
    loss += (math.log10(draws["eps"]) + 3) ** 2 / 4
    loss += draws.get("schedule.cosine.final", 1.0) / 4
    return result(loss, -1.0, draws["beta2"])


def treacherous(draws: dict[str, Any]) -> dict[str, Any]:
    """The larger lr the better, but only a fifth of the range holds."""
    height = math.log10(draws["lr"])
    return result(-height + draws["eps"], height + 4.2, draws["beta2"])


def result(loss: float, violation: float, accuracy: float) -> dict[str, Any]:
    values = {"robust_loss": loss, "accuracy": accuracy}
    return {"robust_loss": loss, "violation": violation, "objectives": values}


class Sweep:
    """A search, and what a database would have of it."""

    def __init__(self, sampler: str, seed: int = 0, objectives: Any = DEFAULT) -> None:
        self.sampler, self.seed, self.objectives = sampler, seed, objectives
        self.search = self.new_search()
        self.trials: list[Trial] = []

    def new_search(self) -> Search:
        return Search(SPACE, self.sampler, self.seed, self.objectives)

    def restart(self) -> None:
        self.search = self.new_search()
        self.search.rebuild(self.trials)

    def run(self, trials: int, judge: Judge = quadratic, *, n_open: int = 4) -> Sweep:
        while len(self.trials) < trials:
            self.ask()
            running = [t.number for t in self.trials if t.state == RUNNING]
            if len(running) == n_open:
                self.tell(running[-1 if len(self.trials) % 5 == 0 else 0], judge)
        return self

    def ask(self) -> None:
        draws, config = self.search.ask()
        number = len(self.trials)
        self.trials.append(Trial(number, "search", config, draws, RUNNING, None, None))

    def tell(self, number: int, judge: Judge) -> None:
        trial = self.trials[number]
        if number % 11 == 10:  # some are given up
            self.search.fail(number)
            self.trials[number] = _with(trial, FAIL, None)
            return
        found = judge(trial.draws)
        self.search.tell(number, found)
        self.trials[number] = _with(trial, COMPLETE, found)

    def results(self) -> Iterator[dict[str, Any]]:
        return (trial.result for trial in self.trials if trial.result is not None)

    def best(self) -> float:
        return min(float(found["robust_loss"]) for found in self.results())


def _with(trial: Trial, state: str, found: dict[str, Any] | None) -> Trial:
    return Trial(trial.number, "search", trial.config, trial.draws, state, found, 1)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_in_the_space_and_the_same_after_restarts(sampler: str) -> None:
    count = 16 if sampler == "gp" else 60
    whole, again, broken = Sweep(sampler), Sweep(sampler), Sweep(sampler)
    whole.run(count)
    again.run(count // 2)
    for stop in range(0, count + 1, 7):
        broken.run(stop)
        broken.restart()
    broken.run(count)
    assert [t.draws for t in whole.trials] == [t.draws for t in broken.trials]
    assert [t.draws for t in whole.trials[: count // 2]] == [t.draws for t in again.trials]
    other = Sweep(sampler, seed=1).run(12)
    assert [t.draws for t in other.trials] != [t.draws for t in whole.trials[:12]]
    assert len({str(t.draws) for t in whole.trials}) == count
    for trial in whole.trials:
        assert set(trial.draws) == expected_names(trial.draws)
        assert all(holds(name, value) for name, value in trial.draws.items())


def expected_names(draws: dict[str, Any]) -> set[str]:
    is_cosine = draws["schedule"] == "cosine"
    return {name for name in EVERY if is_cosine or not name.startswith("schedule.")}


def holds(name: str, value: Any) -> bool:
    parameter = EVERY[name]
    if isinstance(parameter, Choice):
        return value in parameter.labels
    return parameter.low <= float(value) <= parameter.high


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_several_objectives_are_the_same_after_restarts(sampler: str) -> None:
    whole, broken = Sweep(sampler, objectives=FRONT), Sweep(sampler, objectives=FRONT)
    whole.run(60)
    for stop in range(0, 61, 9):
        broken.run(stop)
        broken.restart()
    broken.run(60)
    assert [t.draws for t in whole.trials] == [t.draws for t in broken.trials]


@pytest.mark.parametrize("sampler", sorted(ADAPTIVE))
def test_better_than_chance(sampler: str) -> None:
    """Median excess loss over 8 to 12 seeds: random 0.38, nsga2 0.22, tpe 0.06, cmaes 0.02."""
    count, seeds = TRIALS.get(sampler, 120), range(1 if sampler == "gp" else 4)
    by_chance = np.array([Sweep("random", seed).run(count).best() for seed in seeds])
    learnt = np.array([Sweep(sampler, seed).run(count).best() for seed in seeds])
    share = 0.8 if sampler == "nsga2" else 0.5
    assert learnt.mean() < share * by_chance.mean(), (learnt, by_chance)


@pytest.mark.parametrize("sampler", sorted(ADAPTIVE))
def test_the_constraint_is_learnt(sampler: str) -> None:
    """The lowest losses don't hold: a search that ignored it would propose none that does."""
    count = TRIALS.get(sampler, 100)
    sweep = Sweep(sampler).run(count, treacherous)
    late = [found["violation"] <= 0 for found in list(sweep.results())[-count // 3 :]]
    by_chance = 0.2
    assert np.mean(late) > 2 * by_chance, late


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_a_front_is_found(sampler: str) -> None:
    """Loss wants 1 - beta2 at 1e-2, accuracy at 0.2: the front is what lies between them."""
    seeds = range(3)
    chance = [volume(Sweep("random", seed, FRONT).run(150)) for seed in seeds]
    learnt = [volume(Sweep(sampler, seed, FRONT).run(150)) for seed in seeds]
    assert np.mean(learnt) > 1.05 * np.mean(chance), (learnt, chance)


def volume(sweep: Sweep) -> float:
    """What the trials dominate of loss <= 4 and log10(accuracy) >= -2."""
    points = [(r["robust_loss"], math.log10(r["objectives"]["accuracy"])) for r in sweep.results()]
    total, highest = 0.0, -2.0
    for loss, accuracy in sorted(points):
        if loss < 4 and accuracy > highest:
            total += (4 - loss) * (accuracy - highest)
            highest = accuracy
    return total


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_trial_without_a_value_holds_nothing_up(sampler: str) -> None:
    def missing(draws: dict[str, Any]) -> dict[str, Any]:
        found = quadratic(draws)
        return found | {"objectives": {"accuracy": None if draws["amsgrad"] else 0.5}}

    sweep = Sweep(sampler, objectives=(Objective("accuracy", "maximize"),))
    assert len(sweep.run(18, missing).trials) == 18


def test_what_optuna_is_told() -> None:
    accuracy = Objective("accuracy", "maximize")
    good = result(-3.0, -0.5, 0.9)
    assert told(good, DEFAULT) == ([-3.0], -0.5)
    assert told(good, (ROBUST_LOSS, accuracy)) == ([-3.0, 0.9], -0.5)
    for odd in (None, math.nan, math.inf, -math.inf):
        assert told(result(-3.0, -0.5, odd), (accuracy,)) == ([-math.inf], 10.0)  # type: ignore[arg-type]
    assert told(result(1e300, 10.0, 0.9), DEFAULT) == ([math.inf], 10.0)
    assert told(result(math.nan, 0.5, 0.9), DEFAULT) == ([math.inf], 10.0)
