"""The search: Optuna in memory, rebuilt from the database after a restart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from sweeper.optim.configuration import parse
from sweeper.ranking.objectives import DEFAULT, Objective, objective_value
from sweeper.space import Parameter, Range, Space
from sweeper.study.database import COMPLETE, FAIL, Trial
from sweeper.study.samplers import distribution, sampler_maker

# From here on a value says nothing but that it is bad, and its square is no number any more.
_LARGEST = 1e100
# Of a trial without a value: that of one that diverged.
_WORST_VIOLATION = 10.0


class Search:
    """Proposes configurations and learns from told trials. Trials are numbered from 0 on."""

    def __init__(
        self,
        space: Space,
        sampler: str,
        seed: int,
        objectives: Sequence[Objective] = DEFAULT,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._objectives = space, tuple(objectives)
        self._sampler = sampler_maker(sampler, seed, space)
        self._distributions = {p.name: distribution(p) for p in space.flat()}
        self._study = optuna.create_study(directions=[one.direction for one in objectives])
        self._ids: dict[int, int] = {}

    def rebuild(self, trials: list[Trial]) -> None:
        """Take over the searched trials of a database, in order."""
        for trial in trials:
            is_done = trial.state == COMPLETE and trial.result is not None
            values, violation = (
                told(trial.result or {}, self._objectives) if is_done else ([], 0.0)
            )
            state = TrialState.COMPLETE if is_done else TrialState.RUNNING
            self._study.add_trial(
                create_trial(
                    state=TrialState.FAIL if trial.state == FAIL else state,
                    values=values or None,
                    params=trial.draws,
                    distributions={name: self._distributions[name] for name in trial.draws},
                    constraints={"stability": violation} if is_done else None,
                )
            )
        for frozen in self._study.get_trials(deepcopy=False):
            self._ids[frozen.number] = frozen._trial_id

    def ask(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The next trial: what was drawn by parameter name, and the complete configuration."""
        number = len(self._ids)
        self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        self._ids[number] = trial._trial_id
        draws: dict[str, Any] = {}

        def draw(parameter: Parameter) -> Any:
            draws[parameter.name] = _suggest(trial, parameter)
            return draws[parameter.name]

        configuration = self._space.configuration(draw)
        return draws, parse(configuration).to_dict()

    def tell(self, number: int, result: Mapping[str, Any]) -> None:
        """What a trial came to; once per trial."""
        values, violation = told(result, self._objectives)
        # A trial that was rebuilt from the database has no handle of Optuna's own.
        handle = optuna.trial.Trial(self._study, self._ids[number])
        handle.set_constraint("stability", violation)
        self._study.tell(number, values)

    def fail(self, number: int) -> None:
        """Give a trial up, without a value."""
        self._study.tell(number, state=TrialState.FAIL)


def told(result: Mapping[str, Any], objectives: Sequence[Objective]) -> tuple[list[float], float]:
    """The values of a trial, never NaN, and its violation.

    A value that is missing is infinite in the bad direction, and the trial then counts as one that
    diverged, however its loss went.
    """
    costs = [one.cost(objective_value(result, one)) for one in objectives]
    costs = [cost if abs(cost) < _LARGEST else math.copysign(math.inf, cost) for cost in costs]
    violation = float(result["violation"])
    if any(cost == math.inf for cost in costs):
        violation = max(violation, _WORST_VIOLATION)
    return [one.value(cost) for one, cost in zip(objectives, costs, strict=True)], violation


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    if isinstance(parameter, Range):
        return trial.suggest_float(
            parameter.name, parameter.low, parameter.high, log=parameter.is_log
        )
    return trial.suggest_categorical(parameter.name, parameter.labels)
