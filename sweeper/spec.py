"""SweepSpec: what a sweep is, as validated and frozen models. The keys of a spec file.

The docstring under a field is its documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from sweeper import auto, files_url, spec_file
from sweeper.errors import SweepError, shown
from sweeper.horizon import Horizon
from sweeper.optim import configuration
from sweeper.pruning import Pruning, parse_pruning
from sweeper.ranking.objectives import Objective, parse_objectives
from sweeper.space import Space, corners, with_constant
from sweeper.space_parser import parse_space
from sweeper.spec_checks import MOST_STEPS, check_settings
from sweeper.spec_errors import explain
from sweeper.spec_sections import (
    Budget,
    Lanes,
    LrRange,
    Notify,
    Record,
    Search,
    Section,
    Seeds,
    Stability,
    Stress,
    Tracking,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class SweepSpec(Section):
    """A sweep."""

    name: str
    """Name of the sweep: also its folder and its MLflow experiment."""
    task: str
    """A bundled task, or package.module:factory."""
    task_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the task."""
    batch_size: int | None = Field(default=None, ge=1)
    """Samples a step in place of the task's own, where a configuration doesn't give its own."""
    horizon: int | Horizon
    """Optimizer steps of a run, or {epochs: 20} or {samples: 1e6}: then its steps follow from its
    batch size, which makes batch sizes comparable. The stress test, rungs and early losses are
    shares of a run's own steps; budget.run_steps and steps_to_target stay optimizer steps."""
    seeds: int | list[int] | Seeds = 2
    """Runs per trial: a count (seeds 0, 1, ...), a list of seeds, or {count: 5, racing: true}:
    further seeds of a trial start only while it is feasible."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of parameters, optimizer state and, without mixed_precision, of the training."""
    mixed_precision: Literal["bfloat16"] | None = None
    """bfloat16 computes forward and backward under torch.autocast."""
    batches: Literal["own", "shared"] | None = None
    """own: every seed has an order of samples of its own. shared: runs of all seeds see the same
    batch at the same step, so that one loader feeds all runs of a lane. Default: as the task
    says, own."""
    allow_unpacked: bool = False
    """Train the runs of a lane one by one where the model can't be packed: slower, with the same
    meaning."""
    baseline: dict[str, Any] | list[dict[str, Any]] = Field(default_factory=list)
    """The present setting, or a list of them: always evaluated, always shown."""
    space: dict[str, Any]
    """The search space, see sweeper.space."""
    lr_range: LrRange = LrRange()
    search: Search = Search()
    budget: Budget = Budget()
    prune: str | dict[str, Any] = "none"
    """Early stopping of trials by their loss, for one objective: median, successive_halving and
    hyperband compare the worst seed at 8 steps from 1 % to 50 % of the horizon, and so select late
    failures: what breaks late looks best early. wilcoxon compares seeds that have ended, and by
    default ends no trial before its fourth. Options: {pruner: median, n_startup_trials: 5,
    n_warmup_steps: 0}; min_resource, reduction_factor; p_threshold, n_startup_steps. none and
    hopeless, the same, end only runs that are non-finite or hopeless, as is always done. What is
    pruned depends on the timing of the lanes: such a sweep can't be repeated to the last bit.
    Where runs differ in length, all are compared at the same share of their own horizon, and steps
    in options are those of the longest run."""
    objective: str | dict[str, Any] | list[Any] = "robust_loss"
    """robust_loss, or a metric that the task's evaluate returns, of the worst seeds as robust_loss
    is: {metric: held_out_accuracy, direction: maximize} (or minimize). A list of several asks for
    their Pareto front. That the training loss holds is the constraint in every case."""
    stability: Stability = Stability()
    stress: Stress = Stress()
    lanes: Lanes = Lanes()
    record: Record = Record()
    tracking: Tracking = Tracking()
    notify: Notify = Notify()
    storage: str = "./sweeps"
    """Folder of all sweeps, relative to the working directory."""
    study_url: str | None = None
    """PostgreSQL database that keeps the study, e.g. postgresql://user@host/database; without it
    SQLite in the sweep's folder. A password comes from PGPASSWORD or ~/.pgpass."""
    files: str | None = None
    """Folder for what the lanes write, row files and trajectories, as a URL of fsspec that all
    nodes reach: s3://bucket/sweeps, gs://bucket/sweeps, file:///mnt/shared; they go to
    <files>/<name>. Default: the sweep's own folder. Credentials come from the environment."""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("1 to 100 letters, digits, '_', '-' and '.', the first no sign")
        return value

    @field_validator("horizon", mode="before")
    @classmethod
    def _length(cls, value: object) -> object:
        if isinstance(value, dict | Horizon):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_STEPS:
            return value
        raise ValueError("steps from 1 to 1e9, {epochs: N} or {samples: N}")

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
    def pruning(self) -> Pruning:
        """What ends trials early."""
        return parse_pruning(self.prune)

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
        return [configuration.parse(one).to_dict() for _, one in self.given_baselines()]

    def given_baselines(self) -> list[tuple[str, dict[str, Any]]]:
        """The baselines as they were written, with their keys."""
        own: dict[str, Any] = {} if self.batch_size is None else {"batch_size": self.batch_size}
        if isinstance(self.baseline, dict):
            return [("baseline", own | self.baseline)]
        return [(f"baseline[{index}]", own | one) for index, one in enumerate(self.baseline)]

    @property
    def task_options(self) -> dict[str, Any]:
        """Fields of the Task that the spec sets in place of its factory."""
        given = {
            "mixed_precision": self.mixed_precision,
            "batches": self.batches,
            "allow_unpacked": self.allow_unpacked or None,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def _filled_space(self) -> dict[str, Any]:
        """The space with ranges in place of `auto`: until the range test, all it will look at."""
        test = self.lr_range
        return auto.filled(self.space, test.found, (test.low, test.high))

    @property
    def awaits_range_test(self) -> bool:
        """Whether the space has an `auto` that no range test has filled."""
        return self.lr_range.found is None and auto.is_asked(self.space)

    @property
    def parsed_space(self) -> Space:
        space = parse_space(self._filled_space)
        if self.batch_size is None:
            return space
        return with_constant(space, "batch_size", self.batch_size)

    def steps(self, config: Mapping[str, Any]) -> int:
        """Optimizer steps of a run of the search with that configuration."""
        if isinstance(self.horizon, int):
            return self.horizon
        return self.horizon.steps(config.get("batch_size"))

    def stress_steps(self, config: Mapping[str, Any]) -> int:
        """Optimizer steps of a run of the stress test with that configuration."""
        return self.stress.steps(self.steps(config))

    def probed_steps(self, config: Mapping[str, Any]) -> int | None:
        """Steps up to which forecasts of a run look; None where runs aren't probed."""
        return self.stress_steps(config) if self.stability.probe else None

    @property
    def lengths(self) -> list[int]:
        """Steps of the runs of the search, ascending: one for each batch size."""
        if isinstance(self.horizon, int):
            return [self.horizon]
        every = [*corners(self.parsed_space), *self.baselines]
        return sorted({self.steps(one) for one in every})

    @property
    def horizon_text(self) -> str:
        """The horizon in words."""
        if isinstance(self.horizon, int):
            return f"{self.horizon:,}"
        if not self.horizon.is_resolved:
            return str(self.horizon)
        first, last = self.lengths[0], self.lengths[-1]
        return f"{self.horizon}, {f'{first:,} to ' if first < last else ''}{last:,} steps"

    @property
    def folder(self) -> Path:
        """The sweep's own folder, absolute; raises SweepError for `~name` of nobody."""
        try:
            return Path(self.storage).expanduser().resolve() / self.name
        except RuntimeError as error:
            raise SweepError(f"{shown(self.storage)}: {error}", where="storage") from error

    @property
    def files_folder(self) -> str | None:
        """Where the lanes of the sweep write, as a URL; None is the sweep's own folder."""
        return None if self.files is None else files_url.joined(self.files, self.name)

    def meaning(self) -> dict[str, Any]:
        """What decides the results: two launches of one name must agree on it."""
        free = ("lanes", "tracking", "notify", "storage", "study_url", "files", "budget")
        inner = {"search": {"mirror"}, "lr_range": {"found"}}
        exclude: dict[str, Any] = {**dict.fromkeys(free, True), **inner}
        return self.model_dump(mode="json", exclude=exclude)


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
        check_settings(spec)
    except ValidationError as error:
        mistake, key = explain(error, plain, SweepSpec)
        raise spec_file.located(mistake, key, source, places) from error
    except SweepError as error:
        raise spec_file.located(error, error.where, source, places) from error
    return spec
