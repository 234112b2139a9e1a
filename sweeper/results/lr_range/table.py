"""A range test in the terminal, and as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from sweeper import auto
from sweeper.errors import SweepError
from sweeper.optim.configuration import flatten
from sweeper.results.lr_range.run import RangeTest, Tried
from sweeper.results.table import setting_text, short_key, varying_keys
from sweeper.stability.lr_range import Reading

_MOST_COLUMNS = 6


def describe(test: RangeTest) -> Iterator[Table | Text]:
    """The settings in a table, and what to search."""
    yield _table(test)
    for text in dict.fromkeys(_troubles(test)):
        yield Text(text, "yellow")
    try:
        found = test.bounds()
    except SweepError as error:
        yield Text(str(error), "red")
        return
    for name, (begins, diverges) in found.items():
        low, high = auto.search_range([begins, diverges])
        yield Text(
            f"{name}: lr: {{log_uniform: [{low:.1e}, {high:.1e}]}}   "
            f"cyclical: {begins:.1e} to {diverges:.1e}   1cycle: peaks up to {diverges:.1e}"
        )
    yield Text(
        "Bounds for a search, no more: some hundred steps can't see what breaks after thousands."
    )


def as_dict(test: RangeTest) -> dict[str, Any]:
    """For JSON."""
    try:
        bounds: dict[str, list[float]] | None = test.bounds()
    except SweepError:
        bounds = None
    return {
        "lr": test.lr.tolist(),
        "settings": [_setting(one) for one in test.settings],
        "bounds": bounds,
        "search": bounds and {name: auto.search_range(pair) for name, pair in bounds.items()},
    }


def _setting(one: Tried) -> dict[str, Any]:
    reading = one.reading
    return {
        "config": dict(one.config),
        "origin": one.origin,
        "picked": reading.picked,
        "begins": reading.begins,
        "lowest": reading.lowest,
        "diverges": reading.diverges,
        "broken": reading.broken,
        "defect": one.defect,
        "loss": [loss if loss == loss else None for loss in one.loss.tolist()],
    }


def _table(test: RangeTest) -> Table:
    flats = [flatten(dict(one.config)) for one in test.settings]
    keys = [key for key in varying_keys(flats) if all(key in flat for flat in flats)]
    keys = keys[:_MOST_COLUMNS]
    title = f"Range test from lr {test.lr[0]:g} to {test.lr[-1]:g} in {len(test.lr)} steps"
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    for name in ("learns from", "take", "lowest loss at", "diverges from", *map(short_key, keys)):
        table.add_column(name, justify="right")
    table.add_column("")
    for one, flat in zip(test.settings, flats, strict=True):
        reading = one.reading
        places = (reading.begins, reading.picked, reading.lowest, reading.diverges)
        table.add_row(
            *("-" if place is None else f"{place:.1e}" for place in places),
            *(setting_text(flat[key]) for key in keys),
            _remark(one),
            style="" if reading.regions == 3 else "yellow",
        )
    return table


def _remark(one: Tried) -> str:
    said = ["baseline"] if one.origin == "baseline" else []
    if one.reading.regions == 1:
        said.append("never learns")
    elif one.reading.regions == 2:
        said.append("never diverges")
    return ", ".join(said)


def _troubles(test: RangeTest) -> Iterator[str]:
    """What isn't as it should be, and what it means."""
    for one in test.settings:
        if one.defect is not None:
            yield f"A loss isn't finite, and lr isn't why: {one.defect}."
        elif _breaks_early(one.reading):
            at = test.lr[one.reading.broken or 0]
            yield (
                f"A loss turned non-finite at lr {at:.1e}, while it was no higher than at the "
                "start: the model overflows, or takes the logarithm or root of 0."
            )
        elif one.reading.regions == 1:
            yield (
                "A setting never learns: its lr must be higher than the test goes, another "
                "hyperparameter forbids it, or the gradient doesn't reach the weights."
            )


def _breaks_early(reading: Reading) -> bool:
    """Whether a run broke without having diverged before."""
    if reading.broken is None:
        return False
    curve = reading.smoothed[: reading.broken]
    return bool(curve.size) and bool(curve[-1] <= curve[0])
