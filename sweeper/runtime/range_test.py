"""`lr: auto`: the range test that a launch makes before its sweep."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from sweeper import auto
from sweeper import spec as spec_module
from sweeper.runtime.variants import task_name
from sweeper.space import corners
from sweeper.spec import SweepSpec
from sweeper.tasks.variants import shared


def with_range_test(spec: SweepSpec, report: Path, console: Console) -> SweepSpec:
    """The spec with what a range test found, where it has an `auto`; else as it is.

    Args:
        report: folder that gets the figure, lr_range.png.

    Raises:
        SweepError: no learning rate at which the loss falls; an own loop.
    """
    if not spec.awaits_range_test:
        return spec
    from sweeper.results.lr_range import figure, run  # they load torch and matplotlib

    with console.status("lr: auto, range test"):
        test = run.run(spec, shared(task_name(spec)))
    found = test.bounds({one["optimizer"] for one in corners(spec.parsed_space)})
    figure.write(test, report / "lr_range.png", title=f"Range test, {spec.name}")
    for name, pair in found.items():
        low, high = auto.search_range(pair)
        said = f"lr: auto is {low:.1e} to {high:.1e} for {name} ({len(test.settings)} settings)"
        console.print(said, highlight=False)
    known = spec.lr_range.model_copy(update={"found": found})
    return spec_module.check({**spec.model_dump(mode="json"), "lr_range": known.model_dump()})
