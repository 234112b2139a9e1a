"""Trials side by side: settings that differ first, then results, the best of each marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from sweeper.optim.configuration import flatten
from sweeper.results.records import records, with_all_columns
from sweeper.results.selection import Chosen

_IDENTITY = ("sweep", "trial", "origin")
BEST_IN = "best_in"
# Results of which more is better, and those that are neither good nor bad by themselves; a metric
# of the task is good in the direction of the objective, where it is one.
_MORE = {"stable_steps", "neighbourhood_width"}
_LESS = {
    "rank", "robust_loss", "failure_fraction", "violation", "tail_loss", "best_loss", "final_loss",
    "draw_up", "give_back", "spike_score", "steps_to_target", "stress_failure_fraction",
    "stress_robust_loss", "stress_tail_loss", "stress_draw_up",
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Trials side by side.

    Args:
        trials: a flat record each (sweeper.results.records), all with the same columns.
        differing: settings that are not the same in all of them.
        same: the other settings, with their value.
        results: columns of results that at least one of them has.
        best: of a result the places of the trials that are best in it, where they differ in it.
    """

    trials: Sequence[Mapping[str, Any]]
    differing: Sequence[str]
    same: Mapping[str, Any]
    results: Sequence[str]
    best: Mapping[str, Sequence[int]]

    def records(self) -> list[dict[str, Any]]:
        """A record per trial, the columns in the order of the table; `best_in` names results."""
        columns = [*_IDENTITY, *self.differing, *self.results, *self.same]
        return [
            {name: trial[name] for name in columns}
            | {BEST_IN: " ".join(name for name, places in self.best.items() if place in places)}
            for place, trial in enumerate(self.trials)
        ]


def compare(chosen: Sequence[Chosen]) -> Comparison:
    """Put trials side by side; a setting that one of them doesn't have is one that differs."""
    flat = [records(source.name, [row])[0] for source, row in chosen]
    trials = with_all_columns(flat)
    settings = list(dict.fromkeys(key for _, row in chosen for key in flatten(row["config"])))
    is_single = len(trials) == 1
    differing = [k for k in settings if is_single or len({repr(t[k]) for t in trials}) > 1]
    results = [
        name
        for name in (trials[0] if trials else ())
        if name not in (*_IDENTITY, *settings) and any(t[name] is not None for t in trials)
    ]
    wanted: dict[str, str] = {
        one.name: one.direction
        for source, _ in chosen
        for one in source.objectives
        if not one.is_loss
    }
    wanted |= dict.fromkeys(_MORE, "maximize") | dict.fromkeys(_LESS, "minimize")
    best = {
        name: _best([trial[name] for trial in trials], maximize=wanted[name] == "maximize")
        for name in results
        if name in wanted
    }
    same = {name: trials[0][name] for name in settings if name not in differing}
    return Comparison(trials, differing, same, results, {k: v for k, v in best.items() if v})


def _best(values: Sequence[Any], *, maximize: bool) -> list[int]:
    """Places of the best value; none where all that have one are equally good."""
    known = [value for value in values if value is not None]
    target = max(known) if maximize else min(known)
    places = [place for place, value in enumerate(values) if value == target]
    return places if len(places) < len(known) else []


def comparison_table(found: Comparison, *, title: str) -> Table:
    """A column per trial; `*` marks the best value of a line."""
    same = ", ".join(f"{name} {_text(value)}" for name, value in found.same.items())
    caption = "* best of these trials" + (f"; the same in all: {same}" if same else "")
    table = Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        header_style="bold",
        pad_edge=False,
    )
    table.add_column("")
    is_several = len({trial["sweep"] for trial in found.trials}) > 1
    for trial in found.trials:
        name = f"{trial['trial']}{' baseline' if trial['origin'] == 'baseline' else ''}"
        header = f"{trial['sweep']}\n{name}" if is_several else name
        table.add_column(header, justify="right", overflow="fold")
    for name in found.differing:
        table.add_row(name, *(_text(trial[name]) for trial in found.trials))
    table.add_section()
    for name in found.results:
        places = found.best.get(name, ())
        cells = [_text(trial[name]) for trial in found.trials]
        marked = [f"[bold green]{c} *[/]" if i in places else c for i, c in enumerate(cells)]
        table.add_row(name, *marked)
    return table


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool | str | list):
        return str(value).replace("[", r"\[")
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
