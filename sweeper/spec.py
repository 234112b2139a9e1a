"""SweepSpec: what a sweep is, as validated and frozen models. The keys of a spec file.

The docstring under a field is its documentation. A key whose feature comes in a later version is
accepted and reported by `not_yet_active`, by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sweeper import server_url, spec_file
from sweeper.errors import SweepError, nearest, one_of, shown
from sweeper.optim import configuration
from sweeper.ranking.objectives import Objective, parse_objectives
from sweeper.space import Range, Space, corners, parse_space
from sweeper.stability.limits import Limits

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DEFAULT = Limits()
# The samplers that take several objectives.
_SEVERAL = ("tpe", "nsga2", "qmc", "random")


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


def _seconds(value: object) -> object:
    """A duration as a number of seconds."""
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd])", value.strip())
        if not match:
            raise ValueError("a number of seconds, or text such as 90s, 30m, 2h, 1d")
        value = float(match[1]) * _UNITS[match[2]]
    if isinstance(value, int | float) and value <= 0:
        raise ValueError("more than 0 seconds")
    return value


class Search(_Section):
    """How configurations are proposed."""

    sampler: Literal["tpe", "gp", "nsga2", "cmaes", "qmc", "random"] = "tpe"
    """tpe (any space), gp (a Gaussian process, up to some 200 trials), nsga2 (generations of 16)
    and cmaes (ranges) learn from the trials before; qmc (Sobol points) and random don't. gp and
    cmaes leave the parameters of branches, cmaes choices too, to tpe. Several objectives: not gp,
    not cmaes."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed of the sampler; a trial's draw depends on it and on the trial's number."""
    mirror: str | None = None
    """Optuna storage URL that gets a copy of every told trial, for optuna-dashboard; e.g.
    sqlite:///optuna.db."""


class Budget(_Section):
    """When the search ends: whichever comes first. No new trial starts after that."""

    trials: int = Field(default=64, ge=1, le=1_000_000)
    """Trials, the baseline included."""
    time: float | None = None
    """Seconds, or text such as 30m, 2h, 1d."""
    run_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps of all runs together."""

    @field_validator("time", mode="before")
    @classmethod
    def _duration(cls, value: object) -> object:
        return _seconds(value)


class Stability(_Section):
    """By which limits a run is judged."""

    climb: float = Field(default=_DEFAULT.climb, gt=0)
    """Decades that the loss may climb above the best seen."""
    give_back: float = Field(default=_DEFAULT.give_back, gt=0)
    """Share of the progress that the loss may give back for long."""
    tail: float = Field(default=_DEFAULT.tail, gt=0, le=1)
    """Share of the horizon that counts as the tail."""
    cvar: float = Field(default=_DEFAULT.cvar, gt=0, le=1)
    """Share of a trial's runs, the worst ones, that make its robust_loss."""
    probe: bool = True
    """Measure the curvature while a run trains and forecast its onset of instability. A trial with
    a run forecast to fail within stress.horizon is infeasible. Costs less than a tenth of the
    training; the trajectories are the same."""

    def limits(self) -> Limits:
        return Limits(self.climb, self.give_back, self.tail, self.cvar)


class Seeds(_Section):
    """Seeds by number."""

    count: int = Field(ge=1, le=10_000)
    """Runs per trial, seeds 0, 1, ..."""
    racing: bool = False
    """Start a trial with one seed, and further ones only while it is feasible: 1, 1, 2, 4, ..."""


class Stress(_Section):
    """The stress test of the winners; `top: 0` or `budget: 0` leaves it out."""

    top: int = Field(default=8, ge=0)
    """Winners that are tested, as far as the budget goes; at least one, and every baseline."""
    seeds: int = Field(default=5, ge=1, le=1000)
    """Fresh seeds per trial."""
    horizon: str | int = "4x"
    """Steps, or a multiple of the horizon such as 4x; forecasts of instability look as far."""
    neighbours: int = Field(default=3, ge=0)
    """Trials that held whose neighbouring settings are tested too, on one seed each."""
    budget: float = Field(default=0.5, ge=0)
    """Share of the search's run-steps that the test may take."""

    @field_validator("horizon")
    @classmethod
    def _length(cls, value: str | int) -> str | int:
        multiple = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)x", str(value))
        if not (value >= 1 if isinstance(value, int) else multiple and float(multiple[1]) > 0):
            raise ValueError("steps >= 1, or a multiple of the horizon such as 4x")
        return value

    @property
    def is_on(self) -> bool:
        """Whether there is a stress test at all."""
        return self.top > 0 and self.budget > 0

    def steps(self, horizon: int) -> int:
        """Steps of a run of the stress test, for a search of that horizon."""
        if isinstance(self.horizon, int):
            return self.horizon
        return max(1, round(float(self.horizon.removesuffix("x")) * horizon))


class Lanes(_Section):
    """How the sweep is spread over devices."""

    count: Literal["auto"] | int = "auto"
    """Lanes; auto is one per GPU, else one per CPU core."""
    gpus: Literal["auto"] | float = "auto"
    """GPUs per lane, a fraction allowed; auto is 1 where the cluster has GPUs, else 0."""
    slots: Literal["auto"] | int = "auto"
    """Runs that a lane trains at once; auto measures where more of them stop paying."""
    save: float = 30.0
    """Seconds (or 30s, 5m) between row files: what a lane that dies may lose."""
    silence: float = 60.0
    """Seconds without a sign of life after which a lane is taken for dead; its runs go on in
    others. Compiling has five minutes."""
    patience: float = 600.0
    """Seconds for which the storage or the study's database may fail before the sweep ends."""

    @field_validator("save", "silence", "patience", mode="before")
    @classmethod
    def _duration(cls, value: object) -> object:
        return _seconds(value)

    @field_validator("count", "slots")
    @classmethod
    def _positive(cls, value: object) -> object:
        if isinstance(value, int) and value < 1:
            raise ValueError("auto, or an int >= 1")
        return value

    @field_validator("gpus")
    @classmethod
    def _not_negative(cls, value: object) -> object:
        if isinstance(value, float) and value < 0:
            raise ValueError("auto, or a number >= 0")
        return value


class Record(_Section):
    """What the trajectories hold beside the loss of every step."""

    update_cosine: bool = False
    """The cosine of the angle between successive updates; costs one more tensor of state."""


class Tracking(_Section):
    """Where MLflow records the sweep."""

    uri: str = "sqlite"
    """sqlite is a database beside the sweeps; else an MLflow tracking URI."""
    later: bool = False
    """Start even when the tracking server can't be reached; it gets its records later."""
    children: Literal["auto"] | int = "auto"
    """Child runs at most (not yet active: every trial has one)."""

    @field_validator("children")
    @classmethod
    def _not_negative(cls, value: object) -> object:
        if isinstance(value, int) and value < 0:
            raise ValueError("auto, or an int >= 0")
        return value


class SweepSpec(_Section):
    """A sweep."""

    name: str
    """Name of the sweep: also its folder and its MLflow experiment."""
    task: str
    """A bundled task, or package.module:factory."""
    task_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the task."""
    horizon: int = Field(ge=1, le=1_000_000_000)
    """Optimizer steps of a run."""
    seeds: int | list[int] | Seeds = 2
    """Runs per trial: a count (seeds 0, 1, ...), a list of seeds, or {count: 5, racing: true}:
    further seeds of a trial start only while it is feasible."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the training."""
    baseline: dict[str, Any] | list[dict[str, Any]] = Field(default_factory=list)
    """The present setting, or a list of them: always evaluated, always shown."""
    space: dict[str, Any]
    """The search space, see sweeper.space."""
    search: Search = Search()
    budget: Budget = Budget()
    prune: str | dict[str, Any] = "none"
    """Early stopping of trials by their loss (not yet active)."""
    objective: str | dict[str, Any] | list[Any] = "robust_loss"
    """robust_loss, or a metric that the task's evaluate returns, of the worst seeds as robust_loss
    is: {metric: held_out_accuracy, direction: maximize} (or minimize). A list of several asks for
    their Pareto front. That the training loss holds is the constraint in every case."""
    stability: Stability = Stability()
    stress: Stress = Stress()
    lanes: Lanes = Lanes()
    record: Record = Record()
    tracking: Tracking = Tracking()
    storage: str = "./sweeps"
    """Folder of all sweeps, relative to the working directory."""
    study_url: str | None = None
    """PostgreSQL database that keeps the study, e.g. postgresql://user@host/database; without it
    SQLite in the sweep's folder. A password comes from PGPASSWORD or ~/.pgpass."""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("1 to 100 letters, digits, '_', '-' and '.', the first no sign")
        return value

    @field_validator("storage")
    @classmethod
    def _path(cls, value: str) -> str:
        if not value.strip() or "\0" in value:
            raise ValueError("the path of a folder")
        return value

    @field_validator("seeds")
    @classmethod
    def _some_seeds(cls, value: int | list[int] | Seeds) -> int | list[int] | Seeds:
        if isinstance(value, Seeds):
            return value
        if isinstance(value, int):
            if not 1 <= value <= 10_000:
                raise ValueError("a count from 1 to 10000")
        elif not 1 <= len(value) <= 10_000 or len(set(value)) != len(value):
            raise ValueError("1 to 10000 seeds, all different")
        elif min(value) < 0 or max(value) >= 2**31:
            raise ValueError("seeds from 0 to 2**31 - 1")
        return value

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the search optimises, the first one first."""
        return parse_objectives(self.objective)

    @property
    def seed_list(self) -> list[int]:
        """All seeds of a trial."""
        if isinstance(self.seeds, list):
            return list(self.seeds)
        return list(range(self.seeds if isinstance(self.seeds, int) else self.seeds.count))

    @property
    def first_seeds(self) -> int:
        """With how many of its seeds a trial starts."""
        is_racing = isinstance(self.seeds, Seeds) and self.seeds.racing
        return 1 if is_racing else len(self.seed_list)

    @property
    def baselines(self) -> list[dict[str, Any]]:
        """The baselines, complete."""
        return [configuration.parse(one).to_dict() for _, one in self._given_baselines()]

    def _given_baselines(self) -> list[tuple[str, dict[str, Any]]]:
        """The baselines as they were written, with their keys."""
        if isinstance(self.baseline, dict):
            return [("baseline", self.baseline)]
        return [(f"baseline[{index}]", one) for index, one in enumerate(self.baseline)]

    @property
    def parsed_space(self) -> Space:
        return parse_space(self.space)

    @property
    def probed_steps(self) -> int | None:
        """Steps up to which forecasts look; None where runs aren't probed."""
        return self.stress.steps(self.horizon) if self.stability.probe else None

    @property
    def folder(self) -> Path:
        """The sweep's own folder, absolute; raises SweepError for `~name` of nobody."""
        try:
            return Path(self.storage).expanduser().resolve() / self.name
        except RuntimeError as error:
            raise SweepError(f"{shown(self.storage)}: {error}", where="storage") from error

    def meaning(self) -> dict[str, Any]:
        """What decides the results: two launches of one name must agree on it."""
        free = ("lanes", "tracking", "storage", "study_url", "budget")
        exclude: dict[str, Any] = {**dict.fromkeys(free, True), "search": {"mirror"}}
        return self.model_dump(mode="json", exclude=exclude)

    def not_yet_active(self) -> list[str]:
        """Keys that were given and have no effect in this version."""
        keys: list[str] = []
        if self.prune != "none":
            keys.append("prune")
        if "children" in self.tracking.model_fields_set:
            keys.append("tracking.children")
        return keys


def load(path: Path, settings: Sequence[str] = (), **overrides: Any) -> SweepSpec:
    """Read and check a spec file; `settings` are `key=value` texts that take precedence."""
    raw, lines = spec_file.read(path)
    raw = spec_file.apply_settings(raw, settings)
    places = spec_file.places_of(lines, str(path))
    for key in [setting.partition("=")[0] for setting in settings]:
        inside = (f"{key}.", f"{key}[")
        places = {k: place for k, place in places.items() if not k.startswith(inside)}
        places[key] = "--set"
    return check({**raw, **overrides}, str(path), places)


def check(
    raw: Mapping[str, Any], source: str = "spec", places: Mapping[str, str] | None = None
) -> SweepSpec:
    """Check a spec and return it.

    Args:
        raw: keys and values.
        source: where they come from, for messages.
        places: where each dotted key comes from, as far as that is known better.

    Raises:
        SweepError: with file, line or key, the value, what is allowed and the nearest right key.
    """
    places = places or {}
    try:
        plain = spec_file.plain(raw)
        if not isinstance(plain, dict):
            raise SweepError("the spec is not a mapping", allowed="name: ..., task: ...")
        spec = SweepSpec.model_validate(plain)
        _check_settings(spec)
    except ValidationError as error:
        mistake, key = _explain(error, plain)
        raise spec_file.located(mistake, key, source, places) from error
    except SweepError as error:
        raise spec_file.located(error, error.where, source, places) from error
    return spec


def _check_settings(spec: SweepSpec) -> None:
    """Check what pydantic doesn't know: server, space, sampler, baselines, their warm-ups."""
    if spec.study_url is not None:
        server_url.check(spec.study_url)
    longer = spec.stress.steps(spec.horizon)
    if spec.stress.is_on and longer < spec.horizon:
        raise SweepError(
            f"{spec.stress.horizon!r} is {longer:,} steps",
            where="stress.horizon",
            allowed=f"at least the horizon, {spec.horizon:,} steps",
        )
    _check_sampler(spec)
    given = spec._given_baselines()
    given += [("space", one) for one in corners(parse_space(spec.space))]
    for key, one in given:
        configuration.check_horizon(configuration.parse(one, key), spec.horizon, f"{key}.schedule")


def _check_sampler(spec: SweepSpec) -> None:
    """Refuse a sampler that can't search the space or the objectives."""
    sampler = spec.search.sampler
    if len(spec.objectives) > 1 and sampler not in _SEVERAL:
        raise SweepError(
            f"{sampler!r} takes one objective, and there are {len(spec.objectives)}",
            where="search.sampler",
            allowed=one_of(_SEVERAL),
        )
    if sampler == "cmaes" and not any(isinstance(p, Range) for p in spec.parsed_space.shared()):
        raise SweepError(
            "'cmaes' searches ranges, and the space has none outside the branches of a choice",
            where="search.sampler",
            cure="Take another one, such as tpe.",
        )


def _explain(error: ValidationError, raw: dict[str, Any]) -> tuple[SweepError, str]:
    """The first mistake that pydantic found, in our words, and the key to blame."""
    errors = error.errors()
    unknown = next((one for one in errors if one["type"] == "extra_forbidden"), None)
    if unknown is not None:
        *place, last = unknown["loc"]
        where, key = _key(raw, place), str(last)
        known = _known_keys(where)
        mistake = SweepError(
            f"unknown key {shown(key)}",
            where=where,
            allowed=one_of(known),
            cure=nearest(key, known),
        )
        return mistake, f"{where}.{key}" if where else key
    first = errors[0]
    if first["type"] == "missing":
        return SweepError(f"the key {first['loc'][-1]!r} is missing"), ""
    # A union has an error for each of its members; the one that got furthest tells most.
    keys = [_key(raw, one["loc"]) for one in errors]
    key = max((key for key in keys if key.startswith(keys[0])), key=len)
    same = [one for one, found in zip(errors, keys, strict=True) if found == key]
    value = same[0]["input"]
    options = re.findall("'([^']*)'", " ".join(one["msg"] for one in same))
    allowed = " or ".join(dict.fromkeys(_allowed(one) for one in same))
    return SweepError(shown(value), where=key, allowed=allowed, cure=nearest(value, options)), key


def _allowed(error: Mapping[str, Any]) -> str:
    """What pydantic wants, without its introduction."""
    if error["type"] in ("dict_type", "model_type"):
        return "a mapping"
    if error["type"] == "missing":
        return f"a mapping with {error['loc'][-1]}"
    plain = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    words = {"a valid integer": "an int", "a valid string": "text"}
    return words.get(plain, plain.replace("a valid ", "a "))


def _key(raw: Any, location: Sequence[str | int]) -> str:
    """The dotted key of a place; pydantic adds the members of unions, which are no keys."""
    dotted = ""
    for part in location:
        if isinstance(raw, Mapping) and part in raw:
            dotted, raw = f"{dotted}.{part}" if dotted else str(part), raw[part]
        elif isinstance(raw, list) and isinstance(part, int):
            dotted, raw = f"{dotted}[{part}]", raw[part]
    return dotted


def _known_keys(where: str) -> list[str]:
    """The keys of a section by its dotted key."""
    model: Any = SweepSpec
    for key in where.split(".") if where else ():
        annotation = model.model_fields[key].annotation
        members = get_args(annotation) or (annotation,)
        model = next(m for m in members if isinstance(m, type) and issubclass(m, BaseModel))
    return list(model.model_fields)
