"""The search: Optuna in memory, rebuilt from the database after a restart."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from sweeper.optim.configuration import parse
from sweeper.space import Parameter, Range, Space
from sweeper.study.database import COMPLETE, FAIL, Trial
from sweeper.study.samplers import distribution, make_sampler


class Search:
    """Proposes configurations and learns from told trials. Trials are numbered from 0 on."""

    def __init__(self, space: Space, sampler: str, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._sampler, self._seed = space, sampler, seed
        self._parameters = list(space.flat())
        self._distributions = {p.name: distribution(p) for p in self._parameters}
        self._study = optuna.create_study(direction="minimize")
        self._ids: dict[int, int] = {}

    def rebuild(self, trials: list[Trial]) -> None:
        """Take over the searched trials of a database, in order."""
        for trial in trials:
            is_done = trial.state == COMPLETE and trial.result is not None
            result = trial.result or {}
            state = TrialState.COMPLETE if is_done else TrialState.RUNNING
            self._study.add_trial(
                create_trial(
                    state=TrialState.FAIL if trial.state == FAIL else state,
                    value=result["robust_loss"] if is_done else None,
                    params=trial.draws,
                    distributions={name: self._distributions[name] for name in trial.draws},
                    constraints={"stability": result["violation"]} if is_done else None,
                )
            )
        for frozen in self._study.get_trials(deepcopy=False):
            self._ids[frozen.number] = frozen._trial_id

    def ask(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The next trial: what was drawn by parameter name, and the complete configuration."""
        number = len(self._ids)
        self._study.sampler = make_sampler(self._sampler, self._seed, number, self._parameters)
        trial = self._study.ask()
        self._ids[number] = trial._trial_id
        draws: dict[str, Any] = {}

        def draw(parameter: Parameter) -> Any:
            draws[parameter.name] = _suggest(trial, parameter)
            return draws[parameter.name]

        configuration = self._space.configuration(draw)
        return draws, parse(configuration).to_dict()

    def tell(self, number: int, value: float, violation: float) -> None:
        """What a trial came to; once per trial."""
        # A trial that was rebuilt from the database has no handle of Optuna's own.
        handle = optuna.trial.Trial(self._study, self._ids[number])
        handle.set_constraint("stability", violation)
        self._study.tell(number, value)

    def fail(self, number: int) -> None:
        """Give a trial up, without a value."""
        self._study.tell(number, state=TrialState.FAIL)


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    if isinstance(parameter, Range):
        return trial.suggest_float(
            parameter.name, parameter.low, parameter.high, log=parameter.is_log
        )
    return trial.suggest_categorical(parameter.name, parameter.labels)
