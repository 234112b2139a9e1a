"""What stands in words above the runs of a sweep in the MLflow UI: Markdown with links into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.optim.configuration import flatten
from sweeper.spec import SweepSpec
from sweeper.tracking import content, views

_COLUMNS = """
One run per trial, below the run of the sweep; all its values are over the trial's seeds.

Filters to paste above the table:

- `metrics.failure_fraction = 0 and metrics.draw_up < 3`
- `metrics.rank <= 10`
- ``tags.`sweeper.recommended` = "true"``
- ``tags.`sweeper.baseline` = "true"``
- ``tags.`sweeper.refused` != "false"``

| column | meaning |
| --- | --- |
| `rank` | place once the sweep has finished, of the best 100: as `sweeper best` |
| `robust_loss` | mean log10 of the tail loss of the worst seeds; minimised unless a metric is |
| `objective.*` | a metric that the search optimises, mean of its worst seeds |
| `failure_fraction` | share of the seeds that failed; 90 % between `failure_low`, `failure_high` |
| `violation` | how far the worst seed is beyond the limits; at most 0 holds |
| `draw_up` | decades that the loss climbed above its best, worst seed |
| `give_back` | share of the progress given back for long, worst seed |
| `spike_score` | share of steps at least 7 sd off the 1000 losses before, worst seed |
| `onset_step` | step at which the first seed failed; `stable_steps` where none did |
| `safe_eps` | eps with which no seed reaches its threshold; on the full batch |
| `forecast_step` | step at which the first seed is forecast to become unstable |
| `sharpness` | lr times the top eigenvalue of the preconditioned Hessian, sharpest seed |
| `tail_loss`, `best_loss`, `final_loss` | of the worst seed each |
| `*_loss_mean` | means over the seeds: `early` at a tenth of the horizon, `first` at its start |
| `stress_*` | the same of the stress test: fresh seeds, a longer horizon |
| `steps_to_target` | steps until all seeds were at the baseline's tail loss; of tested trials |
| `neighbourhood_width` | share of the neighbouring settings that held in the stress test |
| `loss`, `grad_norm`, `update_rms`, `lr` | thinned curves of the worst seed, `sweeper.loss_seed` |
| `hp.*` | the numeric settings once more, for charts; `hp.log10_*` where searched on a log scale |
| Duration | of the recording; a pack trains many trials at once |

Of several objectives the tag `sweeper.pareto` marks the front once the sweep has finished.

A run that FAILED has no results: `sweeper.error` among its tags says why its trial was given up.
One that was KILLED was pruned, and has none either: `sweeper.pruned` says when and by what.

The tag `sweeper.refused` says what broke in a trial that other rankings put first.

The run of the sweep has its progress as metrics: `told` of `trials`, `run_steps` of told trials;
and while it runs `lanes`, `slot_occupancy`, `run_steps_per_s`, and `tracker_lag_s`, by which these
records are behind. The report and `recommended.json` are among its artifacts.
"""
_RECOMMENDED, _NOTHING = "**Recommended: ", "**Nothing held"


def of_experiment(experiment: str) -> str:
    """The description of an experiment, by its id: its views, its columns, ready filters."""
    ranked, charts = views.link(experiment, views.RANKING), views.link(experiment, views.CHARTS)
    return f"[Trials, ranked]({ranked}) · [Charts of the best]({charts})\n{_COLUMNS}"


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
        said = f"{_RECOMMENDED}{where}**, {_proof(spec, best)}; chosen from "
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


def _proof(spec: SweepSpec, row: Mapping[str, Any]) -> str:
    if "stress_runs" in row:
        count, steps = f"{row['stress_runs']} fresh", spec.stress_steps(row["config"])
        tail = row["stress_tail_loss"]
    else:
        count, steps, tail = str(row["runs"]), spec.steps(row["config"]), row["tail_loss"]
    seeds = f"{count} seed{'' if count.split()[0] == '1' else 's'}"
    return f"held on {seeds} for {steps:,} steps; tail loss {tail:.2g} at worst"


def _linked(row: Mapping[str, Any], runs: Mapping[int, str]) -> str:
    return f"[{content.run_name(row['trial'], flatten(row['config']))}]({runs[row['trial']]})"
