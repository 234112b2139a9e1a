"""The search: Optuna in memory, rebuilt from the database after a restart."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.trial import TrialState, create_trial

from sweeper.optim.configuration import parse
from sweeper.ranking.objectives import DEFAULT, Objective, objective_value
from sweeper.space import Parameter, Range, Space
from sweeper.study import history
from sweeper.study.database import COMPLETE, FAIL, PRUNED, RUNNING, Trial
from sweeper.study.pruners import keeps_notes
from sweeper.study.samplers import distribution, sampler_maker

# From here on a value says nothing but that it is bad, and its square is no number any more.
_LARGEST = 1e100
# Of a trial without a value: that of one that diverged.
_WORST_VIOLATION = 10.0
# Optuna keeps so many times the told trials that are shown, before the others are left out.
_KEEPS = 2


class Search:
    """Proposes configurations and learns from told trials. Trials are numbered from 0 on.

    Args:
        space: that is searched.
        sampler: its name.
        seed: of the sampler.
        objectives: the first one first.
        pruner: says which trials are to end early; only with one objective.
        most: told trials that TPE is shown (sweeper.study.history); None is all of them.
    """

    def __init__(
        self,
        space: Space,
        sampler: str,
        seed: int,
        objectives: Sequence[Objective] = DEFAULT,
        pruner: BasePruner | None = None,
        most: int | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._objectives = space, tuple(objectives)
        self._sampler = sampler_maker(sampler, seed, space, most)
        self._distributions = {p.name: distribution(p) for p in space.flat()}
        # The pruner stays outside: for Hyperband Optuna would show a sampler one bracket alone.
        # In which bracket a trial is depends on the name of the study.
        self._pruner = pruner
        # Others ask for trials by their place among all.
        forgets = sampler == "tpe" and pruner is None and len(self._objectives) == 1
        self._most = most if forgets else None
        self._study = self._new_study()
        self._asked = 0
        self._kept = 0  # told trials that Optuna has
        self._ids: dict[int, int] = {}

    def rebuild(
        self, trials: list[Trial], known: Mapping[int, Mapping[int, float]] | None = None
    ) -> None:
        """Take over the searched trials of a database, in order.

        Args:
            known: values by step that a pruner may have seen, by the trial's number.
        """
        if self._pruner is None:
            self._add(trials)
            return
        # Told one after another, as they were: a pruner may note how far each has come.
        self._add([replace(trial, state=RUNNING, result=None) for trial in trials])
        order = (number for number, trial in enumerate(trials) if trial.told is not None)
        for number in sorted(order, key=lambda number: trials[number].told or 0):
            trial = trials[number]
            self.learn(number, (known or {}).get(trial.number, {}))
            if trial.state == COMPLETE and trial.result is not None:
                self.tell(number, trial.result)
            elif trial.state == PRUNED:
                self.prune(number)
            else:
                self.fail(number)
        for number, trial in enumerate(trials):
            if trial.told is None:  # judged before
                self.learn(number, (known or {}).get(trial.number, {}))

    def _new_study(self) -> optuna.Study:
        directions = [one.direction for one in self._objectives]
        return optuna.create_study(study_name="search", directions=directions)

    def _forget(self) -> None:
        """Leave out what TPE isn't shown any more: memory and time of a proposal stay what they
        are, however long the search is."""
        if self._most is None or self._kept < _KEEPS * self._most:
            return
        trials = self._study.get_trials(deepcopy=False)
        told = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        shown = {one.number for one in history.shown(told, self._most, self._study.direction)}
        self._study, self._ids = self._new_study(), {}
        for trial in trials:
            if trial.state == TrialState.RUNNING or trial.number in shown:
                self._study.add_trial(trial)
        self._kept = len(shown)
        self._note_ids()

    def _note_ids(self) -> None:
        for frozen in self._study.get_trials(deepcopy=False):
            self._ids[frozen.user_attrs[history.NUMBER]] = frozen._trial_id

    def _add(self, trials: Iterable[Trial]) -> None:
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
                    user_attrs={history.NUMBER: self._asked},
                )
            )
            self._asked += 1
            self._kept += trial.state != RUNNING
        self._note_ids()

    def ask(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The next trial: what was drawn by parameter name, and the complete configuration."""
        self._forget()
        number, self._asked = self._asked, self._asked + 1
        self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        trial.set_user_attr(history.NUMBER, number)
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
        handle = self._handle(number)
        handle.set_constraint("stability", violation)
        self._study.tell(handle, values)
        self._kept += 1

    def fail(self, number: int) -> None:
        """Give a trial up, without a value."""
        self._study.tell(self._handle(number), state=TrialState.FAIL)
        self._kept += 1

    def prune(self, number: int) -> None:
        """End a trial early: what was reported of it counts."""
        self._study.tell(self._handle(number), state=TrialState.PRUNED)

    def _handle(self, number: int) -> optuna.trial.Trial:
        """A trial as Optuna has it: one that was rebuilt has no handle of Optuna's own."""
        return optuna.trial.Trial(self._study, self._ids[number])

    def report(self, number: int, values: Mapping[int, float]) -> int | None:
        """Show the pruner what is known of a running trial, in ascending order.

        What it was shown before is left out.

        Args:
            values: by step, finite.

        Returns:
            The step after which the trial is to end, what comes later not being shown; or None.
        """
        if self._pruner is None:
            return None
        for step in self._new(number, values):
            self._show(number, step, values[step])
            if self._is_pruned(number):
                return step
        return None

    def learn(self, number: int, values: Mapping[int, float]) -> None:
        """Show the pruner what is known of a trial that it is not asked about any more."""
        if self._pruner is None:
            return
        for step in self._new(number, values):
            self._show(number, step, values[step])
            if keeps_notes(self._pruner):
                self._is_pruned(number)  # whatever it says: the trial counts for the others

    def shown(self, number: int) -> dict[int, float]:
        """What the pruner was shown of a trial, by step."""
        return dict(self._study._storage.get_trial(self._ids[number]).intermediate_values)

    def _new(self, number: int, values: Mapping[int, float]) -> list[int]:
        return sorted(values.keys() - self.shown(number).keys())

    def _show(self, number: int, step: int, value: float) -> None:
        self._study._storage.set_trial_intermediate_value(self._ids[number], step, value)

    def _is_pruned(self, number: int) -> bool:
        assert self._pruner is not None
        trial = self._study._storage.get_trial(self._ids[number])
        with warnings.catch_warnings():
            # Wilcoxon: a seed that the best trial does not have is left out, as it should be.
            warnings.filterwarnings("ignore", message="WilcoxonPruner finds steps")
            return self._pruner.prune(self._study, trial)


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
