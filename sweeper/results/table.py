"""The ranking as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table


def ranking_table(ranking: Sequence[dict[str, Any]], *, title: str) -> Table:
    """One line per trial, in order; what never changes over the trials is left out."""
    keys = _varying_keys([_flat(trial["config"]) for trial in ranking])
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    for name in ("rank", "trial", "log10 loss", "failed", "draw-up", "onset"):
        table.add_column(name, justify="right", no_wrap=True)
    for key in keys:
        table.add_column(key.removeprefix("schedule."), justify="right")
    for trial in ranking:
        flat = _flat(trial["config"])
        style = "red" if trial["failure_fraction"] > 0 else ""
        table.add_row(*_measures(trial), *(_text(flat.get(key)) for key in keys), style=style)
    return table


def _measures(trial: dict[str, Any]) -> list[str]:
    mark = " baseline" if trial["origin"] == "baseline" else ""
    onset = trial["onset_step"]
    failed = round(trial["failure_fraction"] * trial["runs"])
    return [
        str(trial["rank"]),
        f"{trial['trial']}{mark}",
        f"{trial['robust_loss']:.2f}",
        f"{failed} of {trial['runs']}",
        f"{trial['draw_up']:.2f}",
        "-" if onset is None else f"{onset:,}",
    ]


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key == "betas":
            flat["beta1"], flat["beta2"] = value
        elif isinstance(value, dict):
            flat |= {f"{key}.{inner}": found for inner, found in value.items()}
        else:
            flat[key] = value
    return flat


def _varying_keys(configs: Sequence[dict[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for config in configs for key in config)
    if len(configs) < 2:
        return list(keys)
    return [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)
