"""A copy of every told trial in an Optuna storage, for optuna-dashboard.

The study's database stays the truth: the copy is written, and read only to see what it has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.errors import SweepError
from sweeper.optim.schedule import parse_schedule
from sweeper.ranking.objectives import objective_value
from sweeper.space import Choice, Range, Space
from sweeper.spec import SweepSpec
from sweeper.study.database import COMPLETE, Trial
from sweeper.study.identity import short_error
from sweeper.study.samplers import distribution

SWEEP_ID, TRIAL = "sweeper.sweep_id", "sweeper.trial"
_KEY = "search.mirror"
_ALLOWED = "sqlite:///optuna.db, postgresql://..., mysql://..."


class MirrorError(Exception):
    """The storage of the mirror could not be read or written. Open the mirror again later."""


def check(url: str) -> None:
    """Raise SweepError for a URL that Optuna can't take. Nothing is connected to or written."""
    try:
        parsed = sa.make_url(url)
        url.format(SCHEMA_VERSION="")  # as Optuna does
    except (sa.exc.ArgumentError, ValueError, LookupError):
        # Not shown: what is no URL may still hold a password.
        raise _refused("not the URL of a database") from None
    try:
        sa.create_engine(parsed).dispose()
    except sa.exc.NoSuchModuleError:
        raise _refused(f"Optuna can't store trials in {parsed.drivername!r}") from None
    except sa.exc.ArgumentError:
        raise _refused("not the URL of a database") from None
    except ImportError as error:
        raise SweepError(
            f"{parsed.drivername!r} needs the package {error.name!r}, which is not installed",
            where=_KEY,
            cure=f"Install it, or take another storage: {_ALLOWED}",
        ) from None
    if parsed.password is not None or "password" in parsed.query:
        raise _refused("a URL with a password, which would be kept in sweep.yaml")
    if parsed.get_backend_name() == "sqlite":
        _check_file(parsed)


def _check_file(url: sa.URL) -> None:
    if url.database in (None, "", ":memory:"):
        raise _refused("a database in memory is lost when the sweep ends")
    if "uri" not in url.query and not Path(url.database or "").absolute().parent.is_dir():
        raise SweepError(
            f"the folder of {url.database} does not exist",
            where=_KEY,
            cure="Make it, or name a file in another folder.",
        )


def _refused(what: str) -> SweepError:
    return SweepError(what, where=_KEY, allowed=_ALLOWED)


class Mirror:
    """The Optuna study of a sweep. After an error make a new one: it looks at what has arrived.

    Args:
        url: of an Optuna storage.
        spec: of the sweep.
        sweep_id: identity of the sweep; a study of its name that isn't its own is left alone.
    """

    def __init__(self, url: str, spec: SweepSpec, sweep_id: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._objectives = spec.parsed_space, spec.objectives
        self._distributions = {p.name: distribution(p) for p in self._space.flat()}
        self._storage = RDBStorage(url)
        sa.event.listen(self._storage.engine, "handle_error", _give_up)
        try:
            self._study = _own_study(self._storage, spec, sweep_id)
            there = self._study.get_trials(deepcopy=False)
        except BaseException:
            self.close()
            raise
        self._known = {trial.user_attrs.get(TRIAL) for trial in there}

    @property
    def name(self) -> str:
        """Of the Optuna study."""
        return self._study.study_name

    def add(self, trial: Trial) -> None:
        """Copy a told trial, in one transaction; does nothing where it is already.

        Raises:
            MirrorError: or what else Optuna raises; the trial may have arrived all the same.
        """
        if trial.number not in self._known:
            self._study.add_trial(self._frozen(trial))
            self._known.add(trial.number)

    def close(self) -> None:
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _frozen(self, trial: Trial) -> FrozenTrial:
        result = trial.result or {}
        is_searched = trial.origin == "search"
        draws = trial.draws if is_searched else dict(shared_draws(self._space, trial.config))
        attributes: dict[str, Any] = {TRIAL: trial.number, "sweeper.config": trial.config}
        if not is_searched:
            attributes["sweeper.baseline"] = True
        if trial.error:
            attributes["sweeper.error"] = short_error(trial.error)
        # Optuna refuses a value that is not a number; the dashboard can't read one in attributes.
        attributes |= {k: v for k, v in result.items() if k != "objectives" and _is_plain(v)}
        violation = attributes.get("violation")
        known = (objective_value(result, one) for one in self._objectives)
        values = [value for value in known if value is not None and math.isfinite(value)]
        is_whole = trial.state == COMPLETE and len(values) == len(self._objectives)
        return create_trial(
            state=TrialState.COMPLETE if is_whole else TrialState.FAIL,
            values=values if is_whole else None,
            params=draws,
            distributions={name: self._distributions[name] for name in draws},
            user_attrs=attributes,
            constraints={"stability": violation} if violation is not None else None,
        )


def shared_draws(space: Space, config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a configuration would have drawn, by name, as far as the space could have drawn it."""
    values = dict(config)
    if "betas" in values:
        values |= zip(("beta1", "beta2"), values["betas"], strict=True)
    for key, parameter in space.parameters.items():
        if key not in values:
            continue
        if isinstance(parameter, Range):
            drawn = _drawn(parameter, values[key])
            if drawn is not None:
                yield parameter.name, drawn
        else:
            yield from _chosen(key, parameter, values)
    for key, nested in space.nested.items():
        inner = values.get(key)
        if isinstance(inner, Mapping) and inner.get("kind") == nested.constants.get("kind"):
            yield from shared_draws(nested, inner)


def _drawn(parameter: Range, value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # 1 - x is its own inverse, but for rounding: 1 - 0.9999 lies below 1e-4.
    drawn = parameter.value(float(value))
    near = (bound for bound in (parameter.low, parameter.high) if math.isclose(drawn, bound))
    drawn = next(near, drawn)
    return drawn if parameter.low <= drawn <= parameter.high else None


def _chosen(key: str, choice: Choice, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    value = values[key]
    inner = value if isinstance(value, Mapping) else values
    if choice.branches:
        label = inner["kind"] if inner is value else value
        if label in choice.labels:
            yield choice.name, label
            yield from shared_draws(choice.branches[choice.labels.index(label)], inner)
        return
    for label, option in zip(choice.labels, choice.options, strict=True):
        if _means(option, value, key):
            yield choice.name, label
            return


def _means(option: Any, value: Any, key: str) -> bool:
    """Whether an option of the space became this value of a complete configuration."""
    if key != "schedule":
        return bool(option == value)
    given = parse_schedule(option, key).to_dict()  # null where it depends on the optimizer
    return given.keys() == value.keys() and all(
        value[name] == own for name, own in given.items() if own is not None
    )


def _own_study(storage: RDBStorage, spec: SweepSpec, sweep_id: str) -> optuna.Study:
    """The study of a sweep, made where it is missing: another sweep may have taken the name."""
    directions = [one.direction for one in spec.objectives]
    for candidate in (spec.name, f"{spec.name}-{sweep_id[:8]}"):
        try:
            study = optuna.create_study(
                storage=storage, study_name=candidate, directions=directions
            )
            study.set_user_attr(SWEEP_ID, sweep_id)
        except DuplicatedStudyError:
            study = optuna.load_study(study_name=candidate, storage=storage)
        if study.user_attrs.get(SWEEP_ID) == sweep_id:
            return study
    # Cut off before it was said whose it is; nobody else has this name.
    study.set_user_attr(SWEEP_ID, sweep_id)
    return study


def _give_up(context: sa.engine.ExceptionContext) -> None:
    """Keep Optuna from trying again by itself: the trial may have arrived, and would be twice."""
    error = context.sqlalchemy_exception
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        raise MirrorError(str(context.original_exception)) from context.original_exception


def _is_plain(value: object) -> bool:
    """Whether JSON has it, and it says something."""
    return value is not None and (not isinstance(value, float) or math.isfinite(value))
