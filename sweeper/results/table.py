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
    varying = varying_keys(flats)
    keys = [key for key in varying if all(key in flat for flat in flats)][:_MOST_COLUMNS]
    rest = [key for key in varying if key not in keys]
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    metrics = _metrics(ranking)
    front = ["front"] if any("pareto" in trial for trial in ranking) else []
    stress = ["stress"] if any("stress_runs" in trial for trial in ranking) else []
    names = ["log10 loss", "failed", *stress, "draw-up", "onset", "forecast"]
    for name in ("rank", "trial", *front, *metrics, *names):
        table.add_column(name, justify="right", no_wrap=True)
    for key in keys:
        table.add_column(short_key(key), justify="right")
    if rest:
        table.add_column("more")
    for trial, flat in zip(ranking, flats, strict=True):
        broken = trial["failure_fraction"] > 0 or trial.get("stress_failure_fraction", 0) > 0
        style = "red" if broken else ""
        more = [_rest(flat, rest)] if rest else []
        measures = _measures(trial, metrics, is_several=bool(front), is_stressed=bool(stress))
        table.add_row(*measures, *(setting_text(flat[key]) for key in keys), *more, style=style)
    return table


def _metrics(ranking: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the metrics that the search optimised."""
    names = (name for trial in ranking for name in trial.get("objectives") or ())
    return [name for name in dict.fromkeys(names) if name != "robust_loss"]


def _measures(
    trial: dict[str, Any], metrics: Sequence[str], *, is_several: bool, is_stressed: bool
) -> list[str]:
    mark = " baseline" if trial["origin"] == "baseline" else ""
    failed = round(trial["failure_fraction"] * trial["runs"])
    return [
        str(trial["rank"]),
        f"{trial['trial']}{mark}",
        *(["yes" if trial.get("pareto") else ""] if is_several else []),
        *(_value(trial["objectives"].get(name)) for name in metrics),
        f"{trial['robust_loss']:.2f}",
        f"{failed} of {trial['runs']}",
        *([_stress(trial)] if is_stressed else []),
        f"{trial['draw_up']:.2f}",
        _step(trial["onset_step"]),
        _step(trial.get("forecast_step")),
    ]


def _stress(trial: dict[str, Any]) -> str:
    """How many seeds of the stress test failed."""
    if "stress_runs" not in trial:
        return "-"
    failed = round(trial["stress_failure_fraction"] * trial["stress_runs"])
    return f"{failed} of {trial['stress_runs']}"


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _step(step: int | None) -> str:
    return "-" if step is None else f"{step:,}"


def varying_keys(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Keys with more than one value among the configurations that have them."""
    keys = dict.fromkeys(key for config in configs for key in config)
    if len(configs) < 2:
        return list(keys)
    values = {key: {repr(c[key]) for c in configs if key in c} for key in keys}
    return [key for key in keys if len(values[key]) > 1]


def _rest(flat: dict[str, Any], keys: Sequence[str]) -> str:
    """Settings that only some branch has, in one cell."""
    return ", ".join(f"{short_key(key)} {setting_text(flat[key])}" for key in keys if key in flat)


def short_key(key: str) -> str:
    """A flat key as it stands above a column."""
    return key.removeprefix("schedule.").replace("kind", "schedule")


def setting_text(value: Any) -> str:
    """A value of a setting in a cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)
