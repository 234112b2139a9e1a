"""What stands in words above the runs of a sweep in the MLflow UI: Markdown with links into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper import metrics
from sweeper.optim.configuration import flatten
from sweeper.ranking.recommendation import proof
from sweeper.spec import SweepSpec
from sweeper.tracking import content, views

_ABOUT = """
{runs}, below the run of the sweep; all its values are over the trial's seeds.
`rank` is the place in `sweeper best`, of the best 100 and once the sweep has finished.

Filters to paste above the table:

- `metrics.failure_fraction = 0 and metrics.draw_up < 3`
- `metrics.rank <= 10`
- ``tags.`sweeper.recommended` = "true"``
- ``tags.`sweeper.baseline` = "true"``
- ``tags.`sweeper.refused` != "false"``

{columns}

Of several objectives the tag `sweeper.pareto` marks the front once the sweep has finished.

A run that FAILED has no results: `sweeper.error` among its tags says why its trial was given up.
One that was KILLED was pruned, and has none either: `sweeper.pruned` says when and by what.

The tag `sweeper.refused` says what broke in a trial that other rankings put first.

The run of the sweep has its progress as metrics: `told` of `trials`, `run_steps` of told trials;
and while it runs `lanes`, `slot_occupancy`, `run_steps_per_s`, and `tracker_lag_s`, by which these
records are behind. The report and `recommended.json` are among its artifacts.
"""
_ALL = "One run per trial"
_SOME = (
    "All trials are in the table `trials.csv` among the artifacts of the run of the sweep. A run "
    "of their own have the {most} best, the baselines, what was tested, recommended or refused"
)
# Of a row of `sweeper best`: in MLflow they are tags, params or `objective.*`.
_ELSEWHERE = ("trial", "origin", "objectives", "pareto", "config")
_RECOMMENDED, _NOTHING = "**Recommended: ", "**Nothing held"


def _columns() -> str:
    """A table of what the run of a trial has, from the catalogue."""
    of_run = {one.name: one.meaning for one in metrics.RUN}
    lines = ["| column | meaning |", "| --- | --- |"]
    for one in (*metrics.TRIAL, *metrics.STRESS, *metrics.TRACKED, *metrics.CURVES):
        if one.name not in _ELSEWHERE:
            said = [of_run[one.name]] if one.name in of_run else []
            lines.append(f"| `{one.name}` | {'; '.join([*said, one.meaning])} |")
    return "\n".join(lines)


def of_experiment(experiment: str, most: int | None = None) -> str:
    """The description of an experiment, by its id: its views, its columns, ready filters.

    Args:
        most: best trials that have a run; None where all have one.
    """
    ranked, charts = views.link(experiment, views.RANKING), views.link(experiment, views.CHARTS)
    runs = _ALL if most is None else _SOME.format(most=most)
    about = _ABOUT.replace("{columns}", _columns()).replace("{runs}", runs)
    return f"[Trials, ranked]({ranked}) · [Charts of the best]({charts})\n{about}"


def of_sweep(
    spec: SweepSpec,
    ranking: Sequence[Mapping[str, Any]],
    best: Mapping[str, Any] | None,
    reasons: Mapping[int, str],
    runs: Mapping[int, str],
) -> str:
    """The description of the run of a finished sweep: what is recommended, what is refused.

    Args:
        ranking: as sweeper.study.standing gives it.
        best: the recommended row of it.
        reasons: of refused trials, by number.
        runs: links to the runs of trials, by number.
    """
    if best is None:
        said = f"{_NOTHING} among {len(ranking)} trials.**"
    else:
        where = _linked(best, runs)
        steps, stress_steps = spec.steps(best["config"]), spec.stress_steps(best["config"])
        held = proof(best, steps=steps, stress_steps=stress_steps)
        said = f"{_RECOMMENDED}{where}**, {held}; chosen from "
        said += f"{len(ranking)} trials.\n\n"
        said += f"Take it along: `sweeper export {spec.name}`, or `recommended.json` among the "
        said += "artifacts of this run. The whole story is there, too: `report/report.html`."
    rows = [row for row in ranking if row["trial"] in reasons]
    lines = [f"| {_linked(row, runs)} | {_cell(reasons[row['trial']])} |" for row in rows]
    head = ["", "", "| refused | what broke |", "| --- | --- |"] if lines else []
    return "\n".join([said, *head, *lines])


def is_ours(note: str | None) -> bool:
    """Whether a description of the run of a sweep may be replaced: no user wrote it."""
    return not note or note.startswith((_RECOMMENDED, _NOTHING))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _linked(row: Mapping[str, Any], runs: Mapping[int, str]) -> str:
    return f"[{content.run_name(row['trial'], flatten(row['config']))}]({runs[row['trial']]})"
