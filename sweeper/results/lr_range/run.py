"""The range test of a spec: many settings of the other hyperparameters, as rows of packs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.errors import SweepError
from sweeper.optim.array import Array
from sweeper.optim.configuration import parse
from sweeper.results.lr_range.defects import defect
from sweeper.space import Choice, Parameter, Space
from sweeper.spec import SweepSpec
from sweeper.stability import lr_range
from sweeper.stability.lr_range import Reading, Rules
from sweeper.tasks.own_loop import OwnLoop
from sweeper.tasks.variants import Variants
from sweeper.training import train

# Draws for each setting that is wanted; a small space has fewer.
_DRAWS = 20
# The test sets these itself.
_TESTED = ("lr", "schedule")


@dataclass(frozen=True, slots=True)
class Tried:
    """One setting.

    Args:
        config: its hyperparameters without lr and schedule.
        origin: baseline or space.
        loss: `[T]` median over the seeds.
        defect: what is wrong with the task where a loss isn't finite, and lr isn't why.
    """

    config: Mapping[str, Any]
    origin: str
    loss: Array
    reading: Reading
    defect: str | None

    @property
    def optimizer(self) -> str:
        return str(self.config["optimizer"])


@dataclass(frozen=True, slots=True)
class RangeTest:
    """A range test. `lr` is `[T]`."""

    lr: Array
    settings: list[Tried]

    def bounds(self, optimizers: Collection[str] | None = None) -> dict[str, list[float]]:
        """By optimizer: the lowest lr at which a loss begins to fall, the highest at which one
        diverges (the highest tested where one doesn't).

        Args:
            optimizers: of which it is wanted; default all that were tested.

        Raises:
            SweepError: an optimizer with no setting whose loss falls.
        """
        found: dict[str, list[float]] = {}
        for name in dict.fromkeys(test.optimizer for test in self.settings):
            if optimizers is not None and name not in optimizers:
                continue
            known = [test.reading for test in self.settings if test.optimizer == name]
            begins = [one.begins for one in known if one.begins is not None]
            if not begins:
                raise self._nothing(name)
            ends = [
                float(self.lr[-1]) if one.diverges is None else one.diverges
                for one in known
                if one.begins is not None
            ]
            found[name] = [min(begins), max(ends)]
        return found

    def _nothing(self, optimizer: str) -> SweepError:
        defects = [test.defect for test in self.settings if test.defect is not None]
        return SweepError(
            f"no learning rate from {self.lr[0]:g} to {self.lr[-1]:g} lets the loss fall with "
            f"{optimizer}" + (f": {defects[0]}" if defects else ""),
            where="space.lr",
            cure="Look at `sweeper lr-range`; check model and data, or give lr a range.",
        )


def run(spec: SweepSpec, variants: Variants) -> RangeTest:
    """Run it in this process.

    Raises:
        SweepError: an own loop, which sets its learning rates itself.
    """
    wanted = spec.lr_range
    if isinstance(variants.load(), OwnLoop):
        raise SweepError(
            "a loop of its own sets its learning rates itself",
            where="task",
            cure="Give lr a range.",
        )
    settings = list(_settings(spec))
    ramp = {"kind": "range_test", "start": wanted.low / wanted.high}
    found = train(
        variants,
        [{**config, "lr": wanted.high, "schedule": ramp} for config, _ in settings],
        seeds=range(wanted.seeds),
        horizon=wanted.steps,
        dtype=spec.dtype,
        sample_every=wanted.steps,
    )
    lr = np.geomspace(wanted.low, wanted.high, wanted.steps)
    rules = Rules(wanted.smoothing, wanted.stop, wanted.pick)
    losses = found.loss.reshape(len(settings), wanted.seeds, wanted.steps)
    tests = []
    for (config, origin), runs in zip(settings, losses, strict=True):
        loss = np.median(runs.astype(np.float64), axis=0)
        reading = lr_range.read(lr, loss, rules)
        wrong = _defect(variants, config, runs, reading)
        tests.append(Tried(config, origin, loss, reading, wrong))
    return RangeTest(lr, tests)


def _settings(spec: SweepSpec) -> Iterator[tuple[dict[str, Any], str]]:
    """Settings without lr and schedule: the baselines, then draws of the space, each once."""
    seen: list[dict[str, Any]] = []
    for config, origin in _candidates(spec):
        bare = {k: v for k, v in parse(config).to_dict().items() if k not in _TESTED}
        if bare not in seen:
            seen.append(bare)
            yield bare, origin
        if len(seen) == spec.lr_range.settings:
            return


def _candidates(spec: SweepSpec) -> Iterator[tuple[dict[str, Any], str]]:
    for config in spec.baselines:
        yield config, "baseline"
    space = spec.parsed_space
    for number in range(_DRAWS * spec.lr_range.settings):
        yield _drawn(space, spec.search.seed, number), "space"


def _drawn(space: Space, seed: int, number: int) -> dict[str, Any]:
    """A random point; optimizers take turns, so that each is there."""
    random = np.random.default_rng([seed, number])

    def draw(parameter: Parameter) -> Any:
        if isinstance(parameter, Choice):
            place = int(random.integers(len(parameter.labels)))
            if parameter.name == "optimizer":
                place = number % len(parameter.labels)
            return parameter.labels[place]
        if parameter.is_log:
            return float(np.exp(random.uniform(np.log(parameter.low), np.log(parameter.high))))
        return float(random.uniform(parameter.low, parameter.high))

    return space.configuration(draw)


def _defect(
    variants: Variants, config: Mapping[str, Any], runs: Array, reading: Reading
) -> str | None:
    """What is wrong with the task, where the runs of a setting turned non-finite."""
    if reading.broken is None:
        return None
    variant = parse(config).variant
    seed = int(np.flatnonzero(~np.isfinite(runs[:, reading.broken]))[0])
    return defect(variants.of(variant), seed, reading.broken)
