"""The variants of its task that a sweep trains: what only they know, and what is wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from sweeper import spec as spec_module
from sweeper.errors import SweepError
from sweeper.horizon import Horizon
from sweeper.optim.configuration import parse
from sweeper.optim.hyperparameters import join
from sweeper.optim.variant import Variant
from sweeper.space import programs
from sweeper.spec import SweepSpec
from sweeper.tasks.own_loop import OwnLoop
from sweeper.tasks.registry import TaskName
from sweeper.tasks.task import Task
from sweeper.tasks.variants import Variants, shared

# Variants that are built before a launch, at most.
_MOST = 100


def task_name(spec: SweepSpec) -> TaskName:
    return TaskName(spec.task, spec.task_args, spec.task_options)


def variants_of(spec: SweepSpec) -> dict[Variant, str]:
    """The variants of a sweep, each with the key of the spec that has it."""
    found: dict[Variant, str] = {}
    for program, _ in programs(spec.parsed_space):
        found.setdefault(program.variant, "space")
    for key, one in spec.given_baselines():
        found.setdefault(parse(one).variant, key)
    return dict(islice(found.items(), _MOST))


def built(spec: SweepSpec) -> Iterator[tuple[Variant, Task | OwnLoop]]:
    """Build every variant; own loops are only loaded.

    Raises:
        SweepError: a batch larger than the data, arguments that the factory refuses, with the key
            of the spec that has them.
    """
    variants = shared(task_name(spec))
    for variant, key in variants_of(spec).items():
        yield variant, _build(variants, variant, key, spec)


def resolve(spec: SweepSpec) -> SweepSpec:
    """The spec with what only the task knows, where lengths or batch sizes depend on it.

    A horizon in epochs or samples gets the size of the data and the task's own batch size. Where
    some configurations of the sweep give their batch size, the others get that of the task.

    Raises:
        SweepError: as `built`; or variants differ in what should be one of the whole sweep.
    """
    given = {variant.batch_size is not None for variant in variants_of(spec)}
    is_open = spec.batch_size is None and given == {True, False}
    if isinstance(spec.horizon, int) and not is_open:
        return spec
    own = [variant._replace(batch_size=None) for variant in variants_of(spec)]
    variants = shared(task_name(spec))
    keys = dict(zip(own, variants_of(spec).values(), strict=True))
    loaded = [_build(variants, one, key, spec) for one, key in keys.items()]
    tasks = [one for one in loaded if not isinstance(one, OwnLoop)]
    if not tasks:
        return _of_own_loop(spec)
    size = _same([task.batch_size for task in tasks], "batch sizes")
    changes: dict[str, Any] = {}
    if is_open and size is not None:
        changes["batch_size"] = size
    if isinstance(spec.horizon, Horizon):
        samples = _same([task.size for task in tasks], "numbers of samples")
        changes["horizon"] = _known(spec.horizon, samples, size).model_dump()
    if not changes:
        return spec
    return spec_module.check({**spec.model_dump(mode="json"), **changes})


def _of_own_loop(spec: SweepSpec) -> SweepSpec:
    """The spec as it is, where nothing has to be known of the data."""
    if isinstance(spec.horizon, int):
        return spec
    raise SweepError(
        "the data of an own loop aren't known",
        where="horizon",
        allowed="an int of steps",
        cure="Or make it an argument of the loop: task_args.",
    )


def _known(horizon: Horizon, samples: int, size: int | None) -> Horizon:
    """The horizon with what the task has; raises SweepError where it says something else."""
    for name, said, has in (
        ("dataset", horizon.dataset, samples),
        ("batch_size", horizon.batch_size, size),
    ):
        if said not in (None, has):
            raise SweepError(
                f"{said}, and the task has {has}", where=f"horizon.{name}", cure="Leave it out."
            )
    return horizon.model_copy(update={"dataset": samples, "batch_size": size})


def _same(values: list[Any], what: str) -> Any:
    if len(set(values)) > 1:
        raise SweepError(
            f"the arguments of the task lead to different {what}: "
            f"{', '.join(str(one) for one in dict.fromkeys(values))}",
            where="space.task_args",
            cure="Search batch_size instead of an argument, over one data set.",
        )
    return values[0]


def _build(variants: Variants, variant: Variant, key: str, spec: SweepSpec) -> Task | OwnLoop:
    try:
        return variants.load(variant)
    except SweepError as error:
        where = error.where
        is_own = where.startswith("task_args") and _is_given(where, variant)
        if where == "batch_size" and spec.batch_size != variant.batch_size:
            is_own = variant.batch_size is not None
        raise SweepError(
            error.what,
            where=join(key, where) if is_own else where,
            allowed=error.allowed,
            cure=error.cure,
        ) from error


def _is_given(where: str, variant: Variant) -> bool:
    """Whether the variant itself has the argument that a factory refuses."""
    name = where.partition(".")[2].partition(".")[0]
    return name in variant.args or (not name and bool(variant.task_args))
