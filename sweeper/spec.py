"""SweepSpec: what a sweep is, as validated and frozen models. The keys of a spec file.

The docstring under a field is its documentation. A key whose feature comes in a later version is
accepted and reported by `not_yet_active`, by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sweeper import spec_file
from sweeper.errors import SweepError, nearest, one_of
from sweeper.optim import configuration
from sweeper.space import Space, parse_space
from sweeper.stability.limits import Limits

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DEFAULT = Limits()


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class Search(_Section):
    """How configurations are proposed."""

    sampler: Literal["tpe", "random", "qmc"] = "tpe"
    """tpe learns from the trials before; random and qmc (Sobol points) don't."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1, strict=True)
    """Seed of the sampler; a trial's draw depends on it and on the trial's number."""


class Budget(_Section):
    """When the search ends: whichever comes first. No new trial starts after that."""

    trials: int = Field(default=64, ge=1, le=1_000_000, strict=True)
    """Trials, the baseline included."""
    time: float | None = None
    """Seconds, or text such as 30m, 2h, 1d."""
    run_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps of all runs together."""

    @field_validator("time", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        if isinstance(value, str):
            match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", value.strip())
            if not match:
                raise ValueError("a number of seconds, or text such as 90s, 30m, 2h, 1d")
            value = float(match[1]) * _UNITS[match[2]]
        if isinstance(value, int | float) and value <= 0:
            raise ValueError("more than 0 seconds")
        return value


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

    def limits(self) -> Limits:
        return Limits(self.climb, self.give_back, self.tail, self.cvar)


class Stress(_Section):
    """The stress test of the winners (not yet active)."""

    top: int = Field(default=8, ge=0)
    """Trials that are tested."""
    seeds: int = Field(default=5, ge=1)
    """Fresh seeds per trial."""
    horizon: str | int = "4x"
    """Steps, or a multiple of the horizon such as 4x."""
    neighbours: int = Field(default=3, ge=0)
    """Trials whose neighbouring settings are tested too."""
    budget: float = Field(default=0.5, ge=0)
    """Share of the search's run-steps that the test may take."""


class Lanes(_Section):
    """How the sweep is spread over devices."""

    count: Literal["auto"] | int = "auto"
    """Lanes; auto is one per GPU, else one per CPU core."""
    gpus: Literal["auto"] | float = "auto"
    """GPUs per lane, a fraction allowed; auto is 1 where the cluster has GPUs, else 0."""
    slots: Literal["auto"] | int = "auto"
    """Runs that a lane trains at once; auto measures where more of them stop paying."""

    @field_validator("count", "slots")
    @classmethod
    def _positive(cls, value: object) -> object:
        if value != "auto" and (
            isinstance(value, bool) or not isinstance(value, int) or value < 1
        ):
            raise ValueError("auto, or an int >= 1")
        return value

    @field_validator("gpus")
    @classmethod
    def _not_negative(cls, value: object) -> object:
        if isinstance(value, float) and value < 0:
            raise ValueError("auto, or a number >= 0")
        return value


class Tracking(_Section):
    """Where MLflow records the sweep."""

    uri: str = "sqlite"
    """sqlite is a database beside the sweeps; else an MLflow tracking URI."""
    later: bool = False
    """Start even when the tracking server can't be reached; it gets its records later."""
    children: Literal["auto"] | int = "auto"
    """Child runs at most (not yet active: every trial has one)."""


class SweepSpec(_Section):
    """A sweep."""

    name: str
    """Name of the sweep: also its folder and its MLflow experiment."""
    task: str
    """A bundled task, or package.module:factory."""
    task_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the task."""
    horizon: int = Field(ge=1, le=1_000_000_000, strict=True)
    """Optimizer steps of a run."""
    seeds: int | list[int] = 2
    """Runs per trial: a count (seeds 0, 1, ...), or a list of seeds."""
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
    """What the search minimises (only robust_loss is active yet)."""
    stability: Stability = Stability()
    stress: Stress = Stress()
    lanes: Lanes = Lanes()
    tracking: Tracking = Tracking()
    storage: str = "./sweeps"
    """Folder of all sweeps, relative to the working directory."""
    study_url: str | None = None
    """Database server of the study (not yet active: SQLite in the sweep's folder)."""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("1 to 100 letters, digits, '_', '-' or '.', not starting with '.'")
        return value

    @field_validator("seeds")
    @classmethod
    def _some_seeds(cls, value: int | list[int]) -> int | list[int]:
        seeds = value if isinstance(value, list) else [value]
        if not seeds or any(isinstance(seed, bool) for seed in seeds):
            raise ValueError("a count >= 1, or a list of distinct seeds >= 0")
        if isinstance(value, list):
            if min(value) < 0 or max(value) >= 2**31 or len(set(value)) != len(value):
                raise ValueError("distinct seeds from 0 to 2**31 - 1")
        elif not 1 <= value <= 10_000:
            raise ValueError("a count from 1 to 10000")
        return value

    @property
    def seed_list(self) -> list[int]:
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)

    @property
    def baselines(self) -> list[dict[str, Any]]:
        """The baselines, complete."""
        given = self.baseline if isinstance(self.baseline, list) else [self.baseline]
        return [configuration.parse(one).to_dict() for one in given]

    @property
    def parsed_space(self) -> Space:
        return parse_space(self.space)

    @property
    def folder(self) -> Path:
        """The sweep's own folder, absolute."""
        return Path(self.storage).expanduser().resolve() / self.name

    def meaning(self) -> dict[str, Any]:
        """What decides the results: two launches of one name must agree on it."""
        free = {"lanes", "tracking", "storage", "study_url", "budget"}
        return self.model_dump(mode="json", exclude=free)

    def not_yet_active(self) -> list[str]:
        """Keys that were given and have no effect in this version."""
        keys = [key for key in ("stress", "study_url") if key in self.model_fields_set]
        if self.prune != "none":
            keys.append("prune")
        if self.objective != "robust_loss":
            keys.append("objective")
        if "children" in self.tracking.model_fields_set:
            keys.append("tracking.children")
        return keys


def load(path: Path, settings: Sequence[str] = (), **overrides: Any) -> SweepSpec:
    """Read and check a spec file; `settings` are `key=value` texts that take precedence."""
    raw, lines = spec_file.read(path)
    raw = spec_file.apply_settings(raw, settings)
    return check({**raw, **overrides}, str(path), lines)


def check(
    raw: dict[str, Any], source: str = "spec", lines: dict[str, int] | None = None
) -> SweepSpec:
    """Check a spec and return it.

    Raises:
        SweepError: with file, line or key, the value, what is allowed and the nearest right key.
    """
    try:
        spec = SweepSpec.model_validate(raw)
    except ValidationError as error:
        raise _explain(error, raw, source, lines or {}) from error
    try:
        parse_space(spec.space)
        for index, one in enumerate(
            spec.baseline if isinstance(spec.baseline, list) else [spec.baseline]
        ):
            parsed = configuration.parse(one, f"baseline[{index}]")
            configuration.check_horizon(parsed, spec.horizon, f"baseline[{index}].schedule")
        _check_warmups(spec)
    except SweepError as error:
        raise _located(error, source, lines or {}) from error
    return spec


def _check_warmups(spec: SweepSpec) -> None:
    space = spec.parsed_space
    first = space.configuration(lambda p: p.labels[0] if hasattr(p, "labels") else p.high)
    configuration.check_horizon(
        configuration.parse(first, "space"), spec.horizon, "space.schedule"
    )


def _explain(
    error: ValidationError, raw: dict[str, Any], source: str, lines: dict[str, int]
) -> SweepError:
    """The first mistake that pydantic found, in our words."""
    first = error.errors()[0]
    keys = [str(part) for part in first["loc"] if _is_key(raw, part)]
    dotted = ".".join(keys)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = _known_keys(keys[:-1])
        mistake = SweepError(
            f"unknown key {keys[-1]!r}",
            where=".".join(keys[:-1]),
            allowed=one_of(known),
            cure=nearest(keys[-1], known),
        )
        return _located(mistake, source, lines, dotted)
    if first["type"] == "missing":
        mistake = SweepError(f"the key {first['loc'][-1]!r} is missing")
        return _located(mistake, source, lines, dotted)
    return _located(
        SweepError(f"{first['input']!r}", where=dotted, allowed=message), source, lines
    )


def _is_key(raw: object, part: object) -> bool:
    # pydantic adds the member of a union to the path; keys are what a user can have written.
    return not (isinstance(part, str) and ("[" in part or part in ("int", "float", "str", "bool")))


def _known_keys(path: list[str]) -> list[str]:
    model: Any = SweepSpec
    for key in path:
        model = model.model_fields[key].annotation
    return list(model.model_fields)


def _located(error: SweepError, source: str, lines: dict[str, int], key: str = "") -> SweepError:
    """The mistake with its file and, where it is known, the line of its key."""
    dotted = (key or error.where).split("[")[0]
    while dotted and dotted not in lines:
        dotted = dotted.rpartition(".")[0]
    place = f"{source}, line {lines[dotted]}" if dotted else source
    where = f"{place}: {error.where}" if error.where else place
    return SweepError(error.what, where=where, allowed=error.allowed, cure=error.cure)
