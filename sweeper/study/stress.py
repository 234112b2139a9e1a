"""The stress test: what is still to be tried once the search is over.

Settings that held are trained on fresh seeds over a longer horizon, in stages within a budget of
run-steps:

1. the winners of the search in their order, every baseline, and what other tools would recommend
   of what held, the setting with the lowest loss;
2. while none of the winners has held, the next ones down the ranking;
3. around those that held, their neighbours: lr x and / 2, eps x and / 10, 1 - beta2 x and / 3,
   each on one seed, as far as the search varied them.

What comes next is a pure function of what was told, so nothing of it has to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, islice
from typing import Any

from sweeper.errors import SweepError
from sweeper.optim.configuration import parse
from sweeper.ranking.evidence import is_feasible
from sweeper.ranking.objective import Result
from sweeper.spec import SweepSpec
from sweeper.study.standing import order
from sweeper.study.tables import BASELINE, COMPLETE, STRESS, Trial

# Numbers beyond those of the search: trials can still be added to it afterwards.
FIRST_TRIAL, FIRST_RUN = 1_000_000, 1_500_000_000
# Winners tested at a time, further down the ranking.
_FURTHER = 4
# Share of the budget that is left for the neighbours.
_NEIGHBOURS_SHARE = 1 / 3
_FACTORS = (("lr", 2.0), ("eps", 10.0), ("beta2", 3.0))


@dataclass(frozen=True, slots=True)
class Case:
    """One setting to be trained.

    Args:
        of: number of the trial that is tested.
        change: what is different in its neighbour; None for the setting itself.
        config: the setting.
        seeds: of its runs.
    """

    of: int
    change: str | None
    config: dict[str, Any]
    seeds: tuple[int, ...]


def missing(
    spec: SweepSpec, trials: Iterable[Trial], results: Mapping[int, Sequence[Result]]
) -> list[Case]:
    """The tests of the next stage; empty when the stress test is over.

    Args:
        trials: of the search, all of them told, and of the stress test so far.
        results: verdicts of the runs of every trial, by its number.
    """
    if not spec.stress.is_on:
        return []
    stage = _Stage(spec, list(trials), results)
    return stage.first() or stage.further() or stage.neighbours()


class _Stage:
    """What is known so far, and what it leaves to be done."""

    def __init__(
        self, spec: SweepSpec, trials: list[Trial], results: Mapping[int, Sequence[Result]]
    ) -> None:
        self._spec, self._trials, self._results = spec, trials, results
        tests = [trial for trial in trials if trial.origin == STRESS]
        self._tested = {(t.stress["of"], t.stress["change"]): t for t in tests if t.stress}
        self._seeds = fresh_seeds(spec.seed_list, spec.stress.seeds)
        searched = [trial for trial in trials if trial.origin != STRESS]
        self._configs = {trial.number: trial.config for trial in searched}
        steps = sum(int(run["steps"]) for t in searched for run in results.get(t.number, ()))
        self._budget = spec.stress.budget * steps
        self._spent = sum(self._cost(t.config, results.get(t.number, ())) for t in tests)
        # As the search alone has it: later the stress test itself moves them.
        ranked = order(spec, searched, results)
        self._holding = [row["trial"] for row in ranked if is_feasible(row)]
        self._baselines = [row["trial"] for row in ranked if row["origin"] == BASELINE]
        by_best = [row["trial"] for row in order(spec, searched, results, "best")]
        self._tempting = [number for number in by_best if number in self._holding][:1]

    def first(self) -> list[Case]:
        """The winners, the baselines and the tempting one."""
        winners = self._holding[: self._spec.stress.top]
        if not winners:
            return []
        always = self._untested([winners[0], *self._baselines])
        share = 1 - _NEIGHBOURS_SHARE if self._spec.stress.neighbours else 1.0
        left = share * self._budget - self._spent - self._cost_of(always)
        others = self._untested([*self._tempting, *winners[1:]], known=always)
        return always + self._affordable(others, left)

    def further(self) -> list[Case]:
        """The next ones down the ranking, while none has held."""
        if any(self._held(number) for number in self._holding):
            return []
        following = self._untested(self._holding)[:_FURTHER]
        return self._affordable(following, self._budget - self._spent)

    def neighbours(self) -> list[Case]:
        """The neighbours of the first few that held; of each all or none."""
        ranked = order(self._spec, self._trials, self._results)
        held = [row["trial"] for row in ranked if self._held(row["trial"])]
        searched = (parameter.name for parameter in self._spec.parsed_space.flat())
        names = {n.rpartition(".")[2] for n in searched if not n.startswith("task_args.")}
        found: list[Case] = []
        left = self._budget - self._spent
        for number in held[: self._spec.stress.neighbours]:
            around = [
                Case(number, change, config, self._seeds[:1])
                for change, config in neighbours(self._configs[number], names)
                if (number, change) not in self._tested
            ]
            left -= self._cost_of(around)
            if left < 0:
                break
            found += around
        return found

    def _held(self, number: int) -> bool:
        test = self._tested.get((number, None))
        if test is None or test.state != COMPLETE:
            return False
        return not any(run["failed"] for run in self._results[test.number])

    def _untested(self, numbers: Iterable[int], known: Sequence[Case] = ()) -> list[Case]:
        seen = {test.of for test in known}
        return [
            Case(number, None, self._configs[number], self._seeds)
            for number in dict.fromkeys(numbers)
            if number not in seen and (number, None) not in self._tested
        ]

    def _affordable(self, tests: list[Case], left: float) -> list[Case]:
        """The first ones, as far as the run-steps that are left go."""
        spent = accumulate(self._cost(test.config, test.seeds) for test in tests)
        return tests[: sum(cost <= left for cost in spent)]

    def _cost_of(self, tests: Sequence[Case]) -> int:
        return sum(self._cost(test.config, test.seeds) for test in tests)

    def _cost(self, config: Mapping[str, Any], runs: Sequence[Any]) -> int:
        """Run-steps set aside for so many runs, whether they came to their end or not."""
        return len(runs) * self._spec.stress_steps(config)


def fresh_seeds(used: Sequence[int], number: int) -> tuple[int, ...]:
    """The first seeds from 0 on that the search did not use."""
    return tuple(islice((seed for seed in count() if seed not in set(used)), number))


def neighbours(
    config: Mapping[str, Any], searched: Iterable[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The neighbouring settings, each with what is different in it.

    Args:
        searched: names of the hyperparameters that the search varied.
    """
    names = set(searched)
    values = parse(config).values
    for name, factor in _FACTORS:
        if name not in names or name not in values:
            continue
        for sign, times in (("x", factor), ("/", 1 / factor)):
            what = "1 - beta2" if name == "beta2" else name
            changed = _changed(config, name, float(values[name]), times)
            if changed is not None:
                yield f"{what} {sign} {factor:g}", changed


def _changed(
    config: Mapping[str, Any], name: str, value: float, times: float
) -> dict[str, Any] | None:
    """The configuration with one hyperparameter moved; None where that is out of its range."""
    if name == "beta2":
        changed = {**config, "betas": [*config["betas"][:-1], 1 - (1 - value) * times]}
    else:
        changed = {**config, name: value * times}
    try:
        return parse(changed).to_dict()
    except SweepError:
        return None
