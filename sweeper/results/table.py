"""The ranking as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from sweeper.optim.configuration import flatten

_MOST_COLUMNS = 8


def ranking_table(ranking: Sequence[dict[str, Any]], *, title: str) -> Table:
    """One line per trial, in order; what never changes over the trials is left out."""
    flats = [flatten(trial["config"]) for trial in ranking]
    varying = _varying_keys(flats)
    keys = [key for key in varying if all(key in flat for flat in flats)][:_MOST_COLUMNS]
    rest = [key for key in varying if key not in keys]
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    for name in ("rank", "trial", "log10 loss", "failed", "draw-up", "onset", "forecast"):
        table.add_column(name, justify="right", no_wrap=True)
    for key in keys:
        table.add_column(_short(key), justify="right")
    if rest:
        table.add_column("more")
    for trial, flat in zip(ranking, flats, strict=True):
        style = "red" if trial["failure_fraction"] > 0 else ""
        more = [_rest(flat, rest)] if rest else []
        table.add_row(*_measures(trial), *(_text(flat[key]) for key in keys), *more, style=style)
    return table


def _measures(trial: dict[str, Any]) -> list[str]:
    mark = " baseline" if trial["origin"] == "baseline" else ""
    failed = round(trial["failure_fraction"] * trial["runs"])
    return [
        str(trial["rank"]),
        f"{trial['trial']}{mark}",
        f"{trial['robust_loss']:.2f}",
        f"{failed} of {trial['runs']}",
        f"{trial['draw_up']:.2f}",
        _step(trial["onset_step"]),
        _step(trial.get("forecast_step")),
    ]


def _step(step: int | None) -> str:
    return "-" if step is None else f"{step:,}"


def _varying_keys(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Keys with more than one value among the configurations that have them."""
    keys = dict.fromkeys(key for config in configs for key in config)
    if len(configs) < 2:
        return list(keys)
    values = {key: {repr(c[key]) for c in configs if key in c} for key in keys}
    return [key for key in keys if len(values[key]) > 1]


def _rest(flat: dict[str, Any], keys: Sequence[str]) -> str:
    """Settings that only some branch has, in one cell."""
    return ", ".join(f"{_short(key)} {_text(flat[key])}" for key in keys if key in flat)


def _short(key: str) -> str:
    return key.removeprefix("schedule.").replace("kind", "schedule")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)
