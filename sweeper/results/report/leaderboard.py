"""Section: the ranking, with the loss of each trial's worst seed as a small line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, log10
from typing import Any

from sweeper.optim.configuration import flatten
from sweeper.ranking.evidence import Row
from sweeper.ranking.objective import worst_run
from sweeper.results.report.facts import Facts
from sweeper.results.report.fate import broke, fate
from sweeper.results.report.recommendation import (
    decades,
    failed,
    failed_in_stress,
    number,
    step,
)
from sweeper.results.report.section import Section, paragraph, table, text
from sweeper.results.table import setting_text, short_key, varying_keys

_MOST = 20
_WIDTH, _HEIGHT = 110, 26
_NOTE = (
    "The line is the training loss of the worst seed in the search, both axes logarithmic and the "
    "same for all rows; a cross is the onset of its failure."
)


def section(facts: Facts) -> Section:
    """The first trials and the baselines."""
    rows = list(facts.ranking[:_MOST])
    rows += [row for row in facts.baselines if row not in rows]
    title = f"Leaderboard: {len(rows)} of {len(facts.ranking)} trials"
    if not rows:
        return Section("leaderboard", "Leaderboard", paragraph("No trial has ended yet."))
    lines = {row["trial"]: _worst(facts, row["trial"]) for row in rows}
    box = _box(list(lines.values()), is_log=not facts.has_negative)
    flats = [flatten(row["config"]) for row in rows]
    keys = varying_keys(flats)
    metrics = [one.name for one in facts.spec.objectives if not one.is_loss]
    has_front = any("pareto" in row for row in rows)
    loss = "tail loss" if facts.has_negative else "log10 loss"
    front = ["front"] if has_front else []
    head = ["rank", "", "trial", "course", *front, *metrics, loss, "failed", "stress"]
    head += ["draw-up", "onset", "forecast", *map(short_key, keys)]
    cells = []
    for row, flat in zip(rows, flats, strict=True):
        cells.append(
            [
                text(row["rank"]),
                f"<span title='{text(fate(row).word)}'>{fate(row).sign}</span>",
                _name(facts, row),
                sparkline(lines[row["trial"]], box),
                *([text("yes" if row.get("pareto") else "")] if has_front else []),
                *(
                    text(number((row.get("objectives") or {}).get(name)) or "-")
                    for name in metrics
                ),
                text(decades(row["robust_loss"])),
                text(failed(row)),
                text(failed_in_stress(row) or "-"),
                text(f"{row['draw_up']:.2f}"),
                text(step(row["onset_step"]) or "-"),
                text(step(row.get("forecast_step")) or "-"),
                *(text(setting_text(flat.get(key))) for key in keys),
            ]
        )
    kinds = [_kind(facts, row) for row in rows]
    return Section("leaderboard", title, paragraph(_NOTE) + table(head, cells, kinds))


def _name(facts: Facts, row: Row) -> str:
    name = text(row["trial"])
    if facts.chosen is not None and row["trial"] == facts.chosen["trial"]:
        return f"{name} <b>recommended</b>"
    return f"{name} <b>baseline</b>" if row["origin"] == "baseline" else name


def _kind(facts: Facts, row: Row) -> str:
    if facts.chosen is not None and row["trial"] == facts.chosen["trial"]:
        return "chosen"
    return "broke" if broke(row) else ""


def _worst(facts: Facts, trial: int) -> Mapping[str, Any]:
    """The verdict of the worst seed of the search, with its thinned curve."""
    results = [row.result for row in facts.runs[trial] if row.result is not None]
    return results[worst_run(results)] if results else {"curve": [], "onset_step": None}


class _Box:
    """Where steps and losses lie in a sparkline."""

    def __init__(self, steps: float, low: float, high: float, *, is_log: bool) -> None:
        self._steps, self._low, self._is_log = log10(steps + 2), low, is_log
        self._spread = max(high - low, 1e-12)

    def place(self, step: float, loss: float) -> tuple[float, float]:
        value = _scaled(loss, is_log=self._is_log)
        share = min(1.0, max(0.0, (value - self._low) / self._spread))
        across = log10(step + 1) / self._steps
        return 3 + (_WIDTH - 6) * across, 3 + (_HEIGHT - 6) * (1 - share)


def _box(results: Sequence[Mapping[str, Any]], *, is_log: bool) -> _Box:
    points = [point for result in results for point in _points(result)]
    if is_log:
        points = [point for point in points if point[1] > 0]
    steps = max((point[0] for point in points), default=1)
    values = sorted(_scaled(loss, is_log=is_log) for _, loss in points) or [0.0]
    firsts = [_scaled(p[0][1], is_log=is_log) for p in map(_points, results) if p and p[0][1] > 0]
    # What diverges leaves at the top, and the others keep their shape.
    room = 2.0 if is_log else abs(max(firsts, default=1.0))
    high = min(values[-1], max(firsts, default=values[-1]) + room)
    return _Box(steps, values[0], high, is_log=is_log)


def _scaled(loss: float, *, is_log: bool) -> float:
    return log10(max(loss, 1e-300)) if is_log else loss


def _points(result: Mapping[str, Any]) -> list[tuple[float, float]]:
    rows = result.get("curve") or ()
    return [(row[0], row[1]) for row in rows if row[1] is not None and isfinite(row[1])]


def sparkline(result: Mapping[str, Any], box: _Box) -> str:
    """A line as wide as a word."""
    points = _points(result)
    if not points:
        return ""
    path = " ".join("{:.1f},{:.1f}".format(*box.place(*point)) for point in points)
    onset = result["onset_step"]
    cross = ""
    if onset is not None:
        loss = next((loss for step, loss in points if step >= onset), points[-1][1])
        x, y = box.place(onset, loss)
        cross = f"<path class='x' d='M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6'/>"
    kind = "spark" if onset is None else "spark bad"
    return (
        f"<svg class='{kind}' width='{_WIDTH}' height='{_HEIGHT}' viewBox='0 0 {_WIDTH} {_HEIGHT}'"
        f" role='img' aria-label='loss'><polyline points='{path}'/>{cross}</svg>"
    )
