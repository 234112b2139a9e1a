"""Section: what the sweep cost, and what it was made with."""

from __future__ import annotations

from collections.abc import Iterable

from sweeper.results.report.facts import Facts
from sweeper.results.report.section import Section, paragraph, table, text
from sweeper.study.database import STRESS, RunRow


def section(facts: Facts) -> Section:
    """Run-steps and time; spec, versions, commit."""
    searched = [t.number for t in facts.trials.values() if t.origin != STRESS]
    tests = [t.number for t in facts.trials.values() if t.origin == STRESS]
    status = facts.status
    seconds = float(status["elapsed_s"])
    rows = [
        ["search", *_cells(facts, searched)],
        ["stress test", *_cells(facts, tests)],
        ["together", *_cells(facts, [*searched, *tests])],
    ]
    lines = [
        f"{_time(seconds)} in {_count(status['launches'], 'launch', 'launches')}",
        f"{_count(len(status['lanes']), 'lane')}",
    ]
    slots = status["slots"]
    if slots:
        lines[-1] += f" of {_count(slots['capacity'], 'slot')}"
    if status["repeated_steps"]:
        lines.append(f"{status['repeated_steps']:,} run-steps trained twice after a failure")
    if status["pruned"] or status["failed"]:
        lines.append(f"{status['pruned']} trials pruned, {status['failed']} given up")
    html = table(["", "settings", "runs", "run-steps"], rows)
    html += paragraph("; ".join(lines) + ".") + _versions(facts)
    return Section("spent", "Budget and versions", html)


def _cells(facts: Facts, trials: Iterable[int]) -> list[str]:
    numbers = list(trials)
    runs = [row for number in numbers for row in facts.runs[number]]
    values = (len(numbers), len(runs), sum(map(_steps, runs)))
    return [text(f"{value:,}") for value in values]


def _steps(row: RunRow) -> int:
    return row.step if row.result is None else int(row.result["steps"])


def _versions(facts: Facts) -> str:
    spec, found = facts.spec, facts.provenance
    named = {
        "task": spec.task + "".join(f", {k}={v}" for k, v in spec.task_args.items()),
        "horizon": f"{spec.horizon_text}; of the stress test {spec.stress.horizon}",
        "seeds": ", ".join(map(str, spec.seed_list)),
        "sampler": f"{spec.search.sampler}, seed {spec.search.seed}",
        "objective": ", ".join(f"{one.name} ({one.direction})" for one in spec.objectives),
        "versions": ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
        "commit": found["commit"] or "-",
    }
    return table(["made with", ""], [[text(key), text(value)] for key, value in named.items()])


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
