"""What pydantic doesn't know of a spec: whether its settings fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweeper import files_url, server_url, tracking_uri, webhook_url
from sweeper.errors import SweepError, one_of
from sweeper.optim import configuration
from sweeper.space import Range, corners

if TYPE_CHECKING:
    from sweeper.spec import SweepSpec

MOST_STEPS = 1_000_000_000
# The samplers that take several objectives.
_SEVERAL = ("tpe", "nsga2", "qmc", "random")


def check_settings(spec: SweepSpec) -> None:
    """Check what pydantic doesn't know: server, space, sampler, baselines, their warm-ups."""
    if spec.study_url is not None:
        server_url.check(spec.study_url)
    tracking_uri.check(spec.tracking.uri)
    if spec.files is not None:
        files_url.check(spec.files)
    _ = spec.parsed_space
    if spec.notify.webhook is not None:
        webhook_url.check(spec.notify.webhook)
    for key, one in spec.given_baselines():
        configuration.parse(one, key)
    _check_sampler(spec)
    if spec.pruning.is_on and len(spec.objectives) > 1:
        raise SweepError(
            f"{spec.pruning.name!r} takes one objective, and there are {len(spec.objectives)}",
            where="prune",
            allowed="hopeless, none",
        )
    if isinstance(spec.horizon, int) or spec.horizon.is_resolved:
        _check_lengths(spec)


def _check_lengths(spec: SweepSpec) -> None:
    """Check what must fit into the runs: stress test, rungs, schedules."""
    lengths = spec.lengths
    longest = lengths[-1]
    if longest > MOST_STEPS:
        raise SweepError(
            f"{longest:,} steps", where="horizon", allowed=f"at most {MOST_STEPS:,} steps"
        )
    longer = spec.stress.steps(longest)
    if spec.stress.is_on and longer < longest:
        raise SweepError(
            f"{spec.stress.horizon!r} is {longer:,} steps",
            where="stress.horizon",
            allowed=f"at least the horizon, {longest:,} steps",
        )
    least = spec.pruning.options.get("min_resource")
    if least is not None and least > longest:
        raise SweepError(
            f"{least:,} steps",
            where="prune.min_resource",
            allowed=f"at most the horizon, {longest:,} steps",
        )
    for key, one in spec.given_baselines():
        parsed = configuration.parse(one, key)
        configuration.check_horizon(parsed, spec.steps(one), f"{key}.schedule")
    space = list(corners(spec.parsed_space))
    shortest = min(map(spec.steps, space))  # any schedule may come with any batch size
    for one in space:
        configuration.check_horizon(configuration.parse(one), shortest, "space.schedule")


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
