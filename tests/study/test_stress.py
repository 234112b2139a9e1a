"""What the stress test tries, stage by stage."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from sweeper.ranking.objective import trial_result
from sweeper.spec import SweepSpec, check
from sweeper.study.database import BASELINE, COMPLETE, FAIL, SEARCH, STRESS, Trial
from sweeper.study.standing import chosen, order
from sweeper.study.stress import FIRST_TRIAL, Case, fresh_seeds, missing, neighbours

ADAM = {"optimizer": "adam", "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8}
# 20 trials x 2 seeds x 100 steps; a setting of the stress test takes 5 x 400 steps.
STRESS_STEPS, SEARCH_STEPS = 2000, 4000


def spec(**stress: Any) -> SweepSpec:
    return check(
        {
            "name": "s",
            "task": "perceptron",
            "horizon": 100,
            "baseline": {"lr": 1e-3},
            "space": {"optimizer": "adam", "lr": {"log_uniform": [1e-5, 1]}},
            "budget": {"trials": 20},
            "stress": {"top": 3, "neighbours": 0, "budget": 100, **stress},
        }
    )


def run(*, failed: bool = False, tail: float = 1e-6, best: float = 1e-8) -> dict[str, Any]:
    return {
        "steps": 100, "finite": True, "hopeless": False, "negative": False, "failed": failed,
        "first_loss": 1.0, "best_loss": best, "final_loss": tail, "tail_loss": tail,
        "floor": 1e-12, "draw_up": 5.0 if failed else 0.1, "give_back": 0.0,
        "onset_step": 50 if failed else None, "stable_steps": 50 if failed else 100,
    }  # fmt: skip


class Sweep:
    """Trials of a search and its stress test, as they are told."""

    def __init__(self, settings: SweepSpec, trials: int = 20) -> None:
        self.spec = settings
        self.trials: list[Trial] = []
        self.results: dict[int, list[dict[str, Any]]] = {}
        for number in range(trials):
            # The first holds and is slow, the later the better; the last two fail.
            is_bad = number >= trials - 2
            runs = [run(failed=is_bad, tail=10.0**-number, best=10.0**-number)] * 2
            origin = BASELINE if number == 0 else SEARCH
            self._tell(number, origin, {**ADAM, "lr": 1e-3 * (1 + number)}, runs, None)

    def missing(self) -> list[Case]:
        return missing(self.spec, self.trials, self.results)

    def tell(self, tests: list[Case], broken: Collection[int] = ()) -> None:
        """The tests come out well but for the trials that break."""
        for test in tests:
            number = FIRST_TRIAL + sum(t.origin == STRESS for t in self.trials)
            runs = [run(failed=test.of in broken, tail=10.0**-test.of) for _ in test.seeds]
            self._tell(number, STRESS, test.config, runs, {"of": test.of, "change": test.change})

    def ranking(self) -> list[dict[str, Any]]:
        return order(self.spec, self.trials, self.results)

    def _tell(
        self,
        number: int,
        origin: str,
        config: dict[str, Any],
        runs: list[dict[str, Any]],
        stress: dict[str, Any] | None,
    ) -> None:
        result = trial_result(runs, climb=3, give_back=0.2, cvar=0.4)
        place = len(self.trials) + 1
        self.trials.append(
            Trial(number, origin, config, {}, COMPLETE, result, place, stress=stress)
        )
        self.results[number] = runs


def numbers(tests: list[Case]) -> list[int]:
    return [test.of for test in tests]


def test_first_come_the_winners_the_baseline_and_the_tempting_one() -> None:
    sweep = Sweep(spec())
    first = sweep.missing()
    # 19 and 18 failed; floors of 1e-12 make 12 to 17 equal but for their speed.
    winners = [row["trial"] for row in sweep.ranking() if row["trial"] < 18][:3]
    assert set(numbers(first)) == {0, 17, *winners}
    assert numbers(first)[:2] == [winners[0], 0]
    assert all(test.seeds == (2, 3, 4, 5, 6) and test.change is None for test in first)
    sweep.tell(first)
    assert sweep.missing() == []
    best = chosen(sweep.ranking())
    assert best is not None and best["trial"] in numbers(first)
    assert (best["stress_runs"], best["stress_failure_fraction"]) == (5, 0)


def test_it_goes_down_the_ranking_until_one_holds() -> None:
    sweep = Sweep(spec())
    tested: set[int] = set()
    for _ in range(10):
        tests = sweep.missing()
        if not tests:
            break
        assert not tested & set(numbers(tests))
        tested |= set(numbers(tests))
        sweep.tell(tests, broken=set(range(6, 20)) | {0})
    best = chosen(sweep.ranking())
    assert best is not None and best["trial"] == 5
    assert 18 not in tested and 19 not in tested  # failed in the search already


def test_nothing_is_recommended_where_all_break_and_the_budget_ends_it() -> None:
    sweep = Sweep(spec(budget=3.0))  # 12,000 steps: six settings
    count = 0
    while tests := sweep.missing():
        count += len(tests)
        sweep.tell(tests, broken=set(range(20)))
    assert count == 3.0 * SEARCH_STEPS / STRESS_STEPS
    assert chosen(sweep.ranking()) is None


def test_the_best_and_the_baseline_are_tested_whatever_it_costs() -> None:
    tests = Sweep(spec(budget=0.001)).missing()
    assert len(tests) == 2 and 0 in numbers(tests)


@pytest.mark.parametrize("off", [{"top": 0}, {"budget": 0}])
def test_it_can_be_left_out(off: dict[str, Any]) -> None:
    sweep = Sweep(spec(**off))
    assert sweep.missing() == []
    best = chosen(sweep.ranking())
    assert best is not None and best["trial"] < 18


def test_nothing_is_tested_where_nothing_held() -> None:
    assert Sweep(spec(), trials=2).missing() == []  # both fail


def test_neighbours_of_those_that_held_are_tested_within_the_budget() -> None:
    sweep = Sweep(spec(neighbours=2, budget=100))
    sweep.tell(sweep.missing())
    held = [row["trial"] for row in sweep.ranking() if row.get("stress_failure_fraction") == 0]
    around = sweep.missing()
    assert [(test.of, test.change) for test in around] == [
        (number, change) for number in held[:2] for change in ("lr x 2", "lr / 2")
    ]
    assert all(len(test.seeds) == 1 for test in around)
    sweep.tell(around, broken={held[1]})
    assert sweep.missing() == []
    width = {row["trial"]: row.get("neighbourhood_width") for row in sweep.ranking()}
    assert (width[held[0]], width[held[1]]) == (1.0, 0.0)
    assert all(w is None for number, w in width.items() if number not in held[:2])


def test_a_setting_that_was_given_up_is_not_tried_again() -> None:
    sweep = Sweep(spec(), trials=4)
    tests = sweep.missing()
    for test in tests:
        number = FIRST_TRIAL + len(sweep.trials)
        said = {"of": test.of, "change": None}
        place = len(sweep.trials) + 1
        sweep.trials.append(
            Trial(number, STRESS, test.config, {}, FAIL, None, place, "died", said)
        )
    assert not set(numbers(sweep.missing())) & set(numbers(tests))
    assert chosen(sweep.ranking()) is not None  # none was tested to its end: the search counts


def test_neighbours_move_what_was_searched_and_stay_in_range() -> None:
    found = dict(neighbours(ADAM, {"lr", "eps", "beta2", "beta1", "warmup"}))
    changes = ["lr x 2", "lr / 2", "eps x 10", "eps / 10", "1 - beta2 x 3", "1 - beta2 / 3"]
    assert list(found) == changes
    assert found["lr x 2"]["lr"] == 2e-3 and found["lr x 2"]["eps"] == 1e-8
    assert found["eps / 10"]["eps"] == pytest.approx(1e-9)
    assert found["1 - beta2 x 3"]["betas"] == [0.9, pytest.approx(0.997)]
    assert found["1 - beta2 / 3"]["betas"][1] == pytest.approx(1 - 1e-3 / 3)
    wide = dict(neighbours({**ADAM, "betas": [0.9, 0.5]}, {"beta2"}))
    assert list(wide) == ["1 - beta2 / 3"]  # 1 - 1.5 is out of range
    assert dict(neighbours({"optimizer": "sgd", "lr": 0.1}, {"lr", "eps"})).keys() == {
        "lr x 2",
        "lr / 2",
    }


def test_fresh_seeds_were_not_used() -> None:
    assert fresh_seeds([0, 1], 3) == (2, 3, 4)
    assert fresh_seeds([3, 0, 7], 4) == (1, 2, 4, 5)
