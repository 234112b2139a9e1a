"""Section: what is recommended and why, with the baseline beside it; and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweeper.optim.configuration import flatten
from sweeper.ranking.evidence import Row
from sweeper.ranking.recommendation import refusal
from sweeper.results import outcome
from sweeper.results.report import style
from sweeper.results.report.facts import Facts
from sweeper.results.report.fate import broke, fate
from sweeper.results.report.section import Section, paragraph, table, text
from sweeper.results.table import setting_text, short_key

_MOST_BROKEN = 12


def section(facts: Facts) -> Section:
    """The recommendation, or why there is none."""
    parts = [_headline(facts)]
    rows = _compared(facts)
    if rows:
        parts.append(_comparison(facts, rows))
    parts.append(_refused(facts))
    return Section("recommendation", "Recommendation", "".join(parts))


def _headline(facts: Facts) -> str:
    if facts.recommendation is not None:
        found = facts.recommendation
        lines = [paragraph(outcome.recommended_text(found), "good")]
        if found["speed"] is not None:
            lines.append(paragraph(outcome.speed_text(found["speed"])))
        return "".join(lines)
    if not facts.ranking:
        return paragraph("No trial has ended yet.", "bad")
    if facts.chosen is not None:  # it was recommended a moment ago
        return paragraph(f"Trial {facts.chosen['trial']} leads.")
    count = sum(map(broke, facts.ranking))
    return paragraph(
        f"Nothing is recommended: {count} of {len(facts.ranking)} trials failed, and none that "
        "was tried long enough held. Lower lr, raise eps, widen the space, or give the stress "
        "test more of a budget.",
        "bad",
    )


def _compared(facts: Facts) -> list[tuple[str, Row]]:
    """The recommended setting and the baselines."""
    found = []
    if facts.chosen is not None:
        found.append((f"recommended, trial {facts.chosen['trial']}", facts.chosen))
    elif facts.ranking:
        first = facts.ranking[0]
        found.append((f"first of the ranking, trial {first['trial']}", first))
    seen = {row["trial"] for _, row in found}
    found += [
        (f"baseline, trial {row['trial']}", row)
        for row in facts.baselines[:3]
        if row["trial"] not in seen
    ]
    return found


def _comparison(facts: Facts, rows: Sequence[tuple[str, Row]]) -> str:
    """Two tables, a column per setting: what came of it, and what it is."""
    names = [head for head, _ in rows]
    lines = []
    for name, say in _lines(facts):
        said = [say(row) for _, row in rows]
        if any(said):
            lines.append([text(name), *(text(one or "-") for one in said)])
    both = table(["what came of it", *names], lines) + _settings(rows, names)
    note = "" if facts.baselines else paragraph("The sweep has no baseline to compare with.")
    return f"<div class='beside'>{both}</div>{note}"


def _settings(rows: Sequence[tuple[str, Row]], names: Sequence[str]) -> str:
    """The settings, what they share in grey."""
    lines: list[list[str]] = []
    kinds: list[str] = []
    flats = [flatten(row["config"]) for _, row in rows]
    for key in dict.fromkeys(key for flat in flats for key in flat):
        values = [setting_text(flat.get(key)) for flat in flats]
        if any(values):
            is_same = len(rows) > 1 and len(set(values)) == 1
            lines.append([text(short_key(key)), *(text(one or "-") for one in values)])
            kinds.append("same" if is_same else "")
    return table(["setting", *names], lines, kinds)


def _lines(facts: Facts) -> list[tuple[str, Callable[[Row], str | None]]]:
    """What is said of a setting; None where it isn't known of it."""
    metrics = [one for one in facts.spec.objectives if not one.is_loss]
    return [
        ("what became of it", lambda row: f"{fate(row).sign} {fate(row).word}"),
        *(
            (one.name, lambda row, name=one.name: number((row.get("objectives") or {}).get(name)))
            for one in metrics
        ),
        ("failed in the stress test", failed_in_stress),
        ("tail loss there, worst seed", lambda row: number(row.get("stress_tail_loss"))),
        ("failed in the search", failed),
        (facts.loss_name, lambda row: decades(row["robust_loss"])),
        ("draw-up, decades", lambda row: f"{row['draw_up']:.2f}"),
        ("onset", lambda row: step(_earliest(row))),
        ("forecast", lambda row: step(row.get("forecast_step"))),
        ("steps to the target loss", lambda row: step(row.get("steps_to_target"))),
        ("neighbours that held", lambda row: percent(row.get("neighbourhood_width"))),
        ("largest sharpness", lambda row: number(row.get("sharpness"))),
        ("eps that is safe", lambda row: number(row.get("safe_eps"))),
    ]


def _refused(facts: Facts) -> str:
    """What broke of what other rankings put first; where nothing held, what broke at all."""
    rows: list[Mapping[str, Any]] = list(facts.refused)
    title = "Refused: what other rankings put first, and the baseline"
    if facts.chosen is None:
        rows, title = _broken(facts), "What broke"
    if not rows:
        return ""
    lines = [
        [
            text(row["trial"]),
            text(setting_text(flatten(row["config"]).get("lr"))),
            text(", ".join(row["by"])),
            text(row["reason"]),
        ]
        for row in rows
    ]
    return f"<h3>{text(title)}</h3>" + table(["trial", "lr", "put first by", "what broke"], lines)


def _broken(facts: Facts) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for row in facts.ranking:
        reason = refusal(row, stress_horizon=facts.spec.stress_steps(row["config"]))
        if reason is not None:
            found.append({**row, "reason": reason, "by": [f"rank {row['rank']}"]})
    return found[:_MOST_BROKEN]


def failed(row: Row) -> str:
    """How many seeds of the search failed."""
    return f"{round(row['failure_fraction'] * row['runs'])} of {row['runs']}"


def failed_in_stress(row: Row) -> str | None:
    """How many seeds of the stress test failed; None for a trial that had none."""
    if "stress_runs" not in row:
        return None
    return f"{round(row['stress_failure_fraction'] * row['stress_runs'])} of {row['stress_runs']}"


def decades(value: float) -> str:
    """robust_loss as the table of the terminal has it."""
    return f"{value:.2f}"


def number(value: float | None) -> str | None:
    """A value with three digits."""
    return None if value is None else style.short(value)


def step(value: int | None) -> str | None:
    """A step."""
    return None if value is None else f"{value:,}"


def percent(value: float | None) -> str | None:
    """A share."""
    return None if value is None else f"{100 * value:.0f} %"


def _earliest(row: Row) -> int | None:
    """First onset of search and stress test."""
    known = [s for s in (row["onset_step"], row.get("stress_onset_step")) if s is not None]
    return min(known, default=None)
