"""The sections of a sweep spec: keys, defaults, ranges."""

from __future__ import annotations

import re
import shlex
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sweeper.stability.limits import Limits

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DEFAULT = Limits()
_HISTORY = 1000
# From here on tpe takes 25 trials for the good ones, however many there are.
_LEAST_HISTORY = 250


class Section(BaseModel):
    """Checked strictly, and never changed."""

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


class Search(Section):
    """How configurations are proposed."""

    sampler: Literal["tpe", "gp", "nsga2", "cmaes", "qmc", "random"] = "tpe"
    """tpe (any space), gp (a Gaussian process, up to some 200 trials), nsga2 (generations of 16)
    and cmaes (ranges) learn from the trials before; qmc (Sobol points) and random don't. gp and
    cmaes leave the parameters of branches, cmaes choices too, to tpe. Several objectives: not gp,
    not cmaes."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed of the sampler; a trial's draw depends on it and on the trial's number."""
    history: Literal["auto"] | int = "auto"
    """Told trials that tpe is shown, at least 250: the best and an even sample of the others, so
    that a proposal costs no more in a long search. auto is 1000. Several objectives: all."""
    mirror: str | None = None
    """Optuna storage URL that gets a copy of every told trial, for optuna-dashboard; e.g.
    sqlite:///optuna.db."""

    @property
    def most_shown(self) -> int:
        """Told trials that tpe is shown."""
        return _HISTORY if self.history == "auto" else self.history

    @field_validator("history")
    @classmethod
    def _enough(cls, value: object) -> object:
        if isinstance(value, int) and value < _LEAST_HISTORY:
            raise ValueError(f"auto, or an int >= {_LEAST_HISTORY}")
        return value


class Budget(Section):
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


class Stability(Section):
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


class Seeds(Section):
    """Seeds by number."""

    count: int = Field(ge=1, le=10_000)
    """Runs per trial, seeds 0, 1, ..."""
    racing: bool = False
    """Start a trial with one seed, and further ones only while it is feasible: 1, 1, 2, 4, ..."""


class Stress(Section):
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


class Lanes(Section):
    """How the sweep is spread over devices."""

    count: Literal["auto"] | int = "auto"
    """Lanes; auto is one per GPU, else one per CPU core, and on a cluster that is joined as many
    again that wait: an autoscaler sees them as demand, and a node that joins starts them. A count
    is what a sweep may take at most."""
    gpus: Literal["auto"] | float = "auto"
    """GPUs per lane; 0.5 puts two lanes on a GPU, 0 trains on the cores. auto is 1 where the
    cluster has GPUs when the sweep starts, else 0."""
    slots: Literal["auto"] | int = "auto"
    """Runs that a lane trains at once; auto measures where more of them stop paying."""
    loaders: Literal["auto"] | int = "auto"
    """Processes per lane that load the batches of a torch Dataset ahead; auto is 0 (the lane
    itself) without a GPU and 4 with one. The results don't depend on it."""
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

    @field_validator("loaders")
    @classmethod
    def _count(cls, value: object) -> object:
        if isinstance(value, int) and not 0 <= value <= 64:
            raise ValueError("auto, or an int from 0 to 64")
        return value

    @field_validator("gpus")
    @classmethod
    def _not_negative(cls, value: object) -> object:
        if isinstance(value, float) and (value < 0 or (value > 1 and value % 1)):
            raise ValueError("auto, a share from 0 to 1, or a whole number")
        return value


class LrRange(Section):
    """The learning-rate range test behind `lr: auto` and `sweeper lr-range`: lr grows from `low`
    to `high` while settings of the space train, all at once."""

    low: float = Field(default=1e-7, gt=0)
    """First learning rate."""
    high: float = Field(default=10.0, gt=0)
    """Last learning rate."""
    steps: int = Field(default=200, ge=20, le=100_000)
    """Optimizer steps from one to the other."""
    settings: int = Field(default=16, ge=1, le=1000)
    """Settings of the other hyperparameters that are tested, the baselines among them."""
    seeds: int = Field(default=3, ge=1, le=100)
    """Runs of each, seeds 0, 1, ...; their median is read."""
    smoothing: Literal["median", "ema", "none"] = "median"
    """A running median over a twentieth of the steps, without lag; or fastai's moving average."""
    stop: Literal["4x", "5x", "none"] = "none"
    """End at a smoothed loss of 4x its best (fastai, Lightning) or 5x (torch-lr-finder)."""
    pick: Literal["steepest", "valley", "minimum"] = "steepest"
    """The learning rate to take: steepest (by the logarithm of lr), valley (fastai), minimum (a
    tenth of lr at the lowest loss). `lr: auto` searches a whole range instead."""
    found: dict[str, list[float]] | None = None
    """By optimizer: lr at which the loss begins to fall, and at which it diverges. Filled in at
    launch; it stays when the sweep is resumed."""

    @model_validator(mode="after")
    def _ascending(self) -> LrRange:
        if not self.low < self.high:
            raise ValueError("low < high")
        return self

    @field_validator("found")
    @classmethod
    def _pairs(cls, value: dict[str, list[float]] | None) -> dict[str, list[float]] | None:
        if value is not None and any(
            len(pair) != 2 or not 0 < pair[0] < pair[1] for pair in value.values()
        ):
            raise ValueError("pairs of 0 < begins < diverges")
        return value


class Record(Section):
    """What the trajectories hold beside the loss of every step."""

    update_cosine: bool = False
    """The cosine of the angle between successive updates; costs one more tensor of state."""


class Tracking(Section):
    """Where MLflow records the sweep."""

    uri: str = "sqlite"
    """sqlite is a database beside the sweeps; else an MLflow tracking URI, without a password: a
    login comes from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the whole URI from
    an environment variable: env:NAME."""
    later: bool = False
    """Start even when the tracking server can't be reached; it gets its records later."""
    children: Literal["auto", "all"] | int = "auto"
    """Trials that have a run of their own: all, or so many of the best, with the baselines and
    what was tested, recommended or refused; then all trials are in the table trials.csv of the
    sweep's run. auto is all up to 1,000 trials, else 100."""

    @field_validator("children")
    @classmethod
    def _not_negative(cls, value: object) -> object:
        if isinstance(value, int) and value < 0:
            raise ValueError("auto, all, or an int >= 0")
        return value


class Notify(Section):
    """Who is told that a launch has ended, see docs/notify.md."""

    command: str | list[str] | None = None
    """Program that gets the notice as JSON on its standard input, and SWEEPER_SWEEP and
    SWEEPER_STATE in its environment; a list, or text that is split into words. There is no
    shell."""
    webhook: str | None = None
    """http(s) URL that the notice is posted to as JSON; its `text` is what Slack or Mattermost
    show. env:NAME takes the URL from an environment variable of the launch: one that is written
    here is kept in sweep.yaml."""
    on: list[Literal["finished", "failed", "stopped"]] = ["finished", "failed", "stopped"]
    """For which ends. finished: also where nothing held; stopped: Ctrl-C, SIGTERM or
    `sweeper stop`."""

    @field_validator("command")
    @classmethod
    def _some_words(cls, value: object) -> object:
        words = _words(value) if isinstance(value, str) else value
        if words == [] or (isinstance(words, list) and (not words[0] or "\0" in "".join(words))):
            raise ValueError("a program and its arguments")
        return value

    @property
    def command_line(self) -> list[str]:
        """The command as a list of words; empty without one."""
        if isinstance(self.command, str):
            return _words(self.command)
        return list(self.command or ())

    @property
    def is_on(self) -> bool:
        """Whether anybody is told."""
        return self.command is not None or self.webhook is not None


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"text that can be split into words ({error})") from error
