"""What `sweeper validate --task` found, as text."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from sweeper.lane.validation import Validation
from sweeper.tasks.registry import TaskName

_CLOSE = 1e-3


def describe(name: TaskName, found: Validation) -> Iterator[Text | Table]:
    """Lines and a table for the terminal."""
    form = found.form
    yield Text(
        f"{name.name}: {sum(form.layout.sizes):,} parameters in {len(form.layout.names)} tensors"
    )
    if form.own:
        yield Text(f"  of every run's own beside them: {', '.join(form.own)}")
    if form.is_random:
        yield Text("  random layers: their numbers are a function of seed and step")
    steps = len(found.losses_alone)
    if form.trouble:
        yield Text(
            f"It can't be packed: {form.trouble}.\nIts runs are trained one by one.", "yellow"
        )
    close = "the same" if found.gap <= _CLOSE else "NOT the same"
    yield Text(
        f"Two runs, {steps} steps, alone in a plain torch loop and packed: {close} losses "
        f"(largest difference {found.gap:.1e} of the loss; first {found.losses_alone[0, 0]:.4g}, "
        f"last {found.losses_alone[-1, 0]:.4g})",
        "" if found.gap <= _CLOSE else "red",
    )
    yield _table(found)
    best = next(one for one in found.packed if one.capacity == found.knee)
    yield Text(
        f"Packing buys {best.rate / found.alone:.1f} times the speed on this machine, with "
        f"{best.capacity} slots; a sweep finds that by itself."
    )


def _table(found: Validation) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("slots", "run-steps/s", "against alone"):
        table.add_column(heading, justify="right")
    table.add_row("alone", f"{found.alone:,.0f}", "1.0")
    for one in found.packed:
        style = "bold green" if one.capacity == found.knee else ""
        ratio = f"{one.rate / found.alone:.1f}"
        table.add_row(str(one.capacity), f"{one.rate:,.0f}", ratio, style=style)
    return table
